//! Offsets of kernel structure fields from the kernel's own type information.
//!
//! A reader of just what that needs (struct, union and their members), since BPF programs in Rust have
//! no relocations for kernel structures.

use crate::engine::EngineError;
use hoptrail_core::shared::Offsets;
use std::collections::HashMap;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const HEADER_BYTES: usize = 24;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
/// Qualifiers, through which a member's type is looked up.
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;

/// Reads the offsets of the running kernel.
///
/// # Errors
/// When the kernel has no type information, or lacks a field.
pub(super) fn offsets() -> Result<Offsets, EngineError> {
    let bytes = std::fs::read(VMLINUX).map_err(|e| {
        EngineError::os(
            format!(
                "cannot read {VMLINUX}, the kernel's type information; run a kernel built with CONFIG_DEBUG_INFO_BTF=y (all current distribution kernels are)"
            ),
            e,
        )
    })?;
    let btf = Btf::parse(&bytes)
        .ok_or_else(|| EngineError::new(format!("{VMLINUX} is not in the BTF format")))?;
    let at = |name: &str, member: &str| {
        btf.offset(name, member).ok_or_else(|| {
            EngineError::new(format!(
                "this kernel's struct {name} has no member {member}; this version of Hoptrail does not know such a kernel"
            ))
        })
    };
    Ok(Offsets {
        task_group_leader: at("task_struct", "group_leader")?,
        task_mm: at("task_struct", "mm")?,
        task_start_boottime: at("task_struct", "start_boottime")?,
        task_comm: at("task_struct", "comm")?,
        mm_exe_file: at("mm_struct", "exe_file")?,
        file_inode: at("file", "f_inode")?,
        file_path: at("file", "f_path")?,
        inode_ino: at("inode", "i_ino")?,
        inode_sb: at("inode", "i_sb")?,
        super_block_dev: at("super_block", "s_dev")?,
        path_mnt: at("path", "mnt")?,
        path_dentry: at("path", "dentry")?,
        dentry_parent: at("dentry", "d_parent")?,
        dentry_name: at("dentry", "d_name")?,
        qstr_len: at("qstr", "len")?,
        qstr_name: at("qstr", "name")?,
        vfsmount_root: at("vfsmount", "mnt_root")?,
        mount_mnt: at("mount", "mnt")?,
        mount_parent: at("mount", "mnt_parent")?,
        mount_mountpoint: at("mount", "mnt_mountpoint")?,
    })
}

struct Member {
    name: u32,
    kind: u32,
    bits: u32,
}

enum Type {
    Composite(Vec<Member>),
    Alias(u32),
    Other,
}

struct Btf<'a> {
    strings: &'a [u8],
    types: Vec<Type>,
    structs: HashMap<&'a [u8], u32>,
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        if magic != 0xeb9f {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        let section = |at: usize| {
            let start = header + word(bytes, at)? as usize;
            bytes.get(start..start + word(bytes, at + 4)? as usize)
        };
        if header < HEADER_BYTES {
            return None;
        }
        let mut btf =
            Self { strings: section(16)?, types: vec![Type::Other], structs: HashMap::new() };
        btf.read_types(section(8)?)?;
        Some(btf)
    }

    fn read_types(&mut self, section: &[u8]) -> Option<()> {
        let mut at = 0;
        while at < section.len() {
            let (name, info, value) =
                (word(section, at)?, word(section, at + 4)?, word(section, at + 8)?);
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            at += 12;
            let extra = match kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
                KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
                _ => 0,
            };
            let id = self.types.len() as u32;
            self.types.push(match kind {
                KIND_STRUCT | KIND_UNION => {
                    if kind == KIND_STRUCT && name != 0 {
                        self.structs.entry(text(self.strings, name)?).or_insert(id);
                    }
                    Type::Composite(members(section.get(at..at + extra)?, info >> 31 == 1)?)
                }
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST => Type::Alias(value),
                _ => Type::Other,
            });
            at += extra;
        }
        Some(())
    }

    /// Byte offset of `member` in `struct name`, also within its anonymous structs and unions.
    fn offset(&self, name: &str, member: &str) -> Option<u32> {
        self.bits(*self.structs.get(name.as_bytes())?, member.as_bytes()).map(|bits| bits / 8)
    }

    fn bits(&self, id: u32, wanted: &[u8]) -> Option<u32> {
        match self.types.get(id as usize)? {
            Type::Alias(to) => self.bits(*to, wanted),
            Type::Composite(members) => members.iter().find_map(|member| {
                if member.name == 0 {
                    return Some(member.bits + self.bits(member.kind, wanted)?);
                }
                (text(self.strings, member.name)? == wanted).then_some(member.bits)
            }),
            Type::Other => None,
        }
    }
}

fn members(bytes: &[u8], bit_fields: bool) -> Option<Vec<Member>> {
    (0..bytes.len() / 12)
        .map(|i| {
            let offset = word(bytes, i * 12 + 8)?;
            // With bit fields the upper byte is a field's size.
            let bits = if bit_fields { offset & 0x00ff_ffff } else { offset };
            Some(Member { name: word(bytes, i * 12)?, kind: word(bytes, i * 12 + 4)?, bits })
        })
        .collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn text(strings: &[u8], at: u32) -> Option<&[u8]> {
    let rest = strings.get(at as usize..)?;
    rest.split(|&b| b == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// struct outer { int a; union { struct { char b; int c; }; long d; }; }
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0d\0";
        let (outer, a, b, c, d) = (1u32, 7u32, 9u32, 11u32, 13u32);
        let composite = |name: u32, kind: u32, members: &[(u32, u32, u32)]| {
            let mut out = vec![name, kind << 24 | members.len() as u32, 16];
            members.iter().for_each(|m| out.extend([m.0, m.1, m.2]));
            out
        };
        let mut types = vec![0, KIND_INT << 24, 4, 32];
        types.extend(composite(0, KIND_STRUCT, &[(b, 1, 0), (c, 1, 32)]));
        types.extend(composite(0, KIND_UNION, &[(0, 2, 0), (d, 1, 0)]));
        types.extend(composite(outer, KIND_STRUCT, &[(a, 1, 0), (0, 3, 64)]));
        let types: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut bytes = Vec::new();
        bytes.extend(0xeb9f_u16.to_ne_bytes());
        bytes.extend([1, 0]);
        for w in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            bytes.extend(w.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_of_anonymous_members_are_found() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("outer", "a"), Some(0));
        assert_eq!(btf.offset("outer", "c"), Some(12));
        assert_eq!(btf.offset("outer", "d"), Some(8));
        assert_eq!(btf.offset("outer", "x"), None);
        assert_eq!(btf.offset("inner", "a"), None);
    }

    #[test]
    fn rubbish_is_refused_without_a_panic() {
        let bytes = sample();
        for length in 0..bytes.len() {
            let _ = Btf::parse(&bytes[..length]);
        }
        assert!(Btf::parse(b"not btf at all, and long enough").is_none());
    }
}
