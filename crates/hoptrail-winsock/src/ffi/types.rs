//! The documented types. Pointers inside structures are numbers here, of the same size and place.
#![expect(non_camel_case_types, reason = "documented names")]
#![expect(missing_docs, reason = "documented by their vendor")]

use std::ffi::{c_char, c_int, c_void};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub type BOOL = c_int;
pub type INT = c_int;
pub type WORD = u16;
pub type DWORD = u32;
pub type DWORD_PTR = usize;
pub type ULONG_PTR = usize;
pub type SOCKET = usize;
pub type HANDLE = *mut c_void;
pub type WSAEVENT = HANDLE;
pub type GROUP = u32;
pub type LPVOID = *mut c_void;
pub type LPINT = *mut c_int;
pub type LPBOOL = *mut BOOL;
pub type LPDWORD = *mut DWORD;
pub type PULONG_PTR = *mut ULONG_PTR;
pub type LPCHANDLE = *const HANDLE;
pub type LPCVOID = *const c_void;
pub type LPSOCKADDR = *mut c_void;
pub type LPCSOCKADDR = *const c_void;
pub type LONG = i32;
pub type LPULONG = *mut std::ffi::c_ulong;
pub type LPCSTR = *const c_char;
pub type LPCWSTR = *const u16;
pub type LPSECURITY_ATTRIBUTES = *mut c_void;
pub type LPWSAPROTOCOL_INFOA = *mut c_void;
pub type LPWSAPROTOCOL_INFOW = *mut c_void;
pub type LPWSADATA = *mut WSADATA;
pub type LPWSAMSG = *mut WSAMSG;
pub type LPWSAOVERLAPPED = *mut WSAOVERLAPPED;
pub type LPOVERLAPPED = LPWSAOVERLAPPED;
pub type LPLPOVERLAPPED = *mut LPOVERLAPPED;
pub type LPWSATHREADID = *mut WSATHREADID;
pub type LPWSAOVERLAPPED_COMPLETION_ROUTINE =
    Option<unsafe extern "C" fn(DWORD, DWORD, LPWSAOVERLAPPED, DWORD)>;
pub type LPWSAUSERAPC = Option<unsafe extern "C" fn(DWORD_PTR)>;

pub const FALSE: BOOL = 0;
pub const TRUE: BOOL = 1;
pub const INVALID_SOCKET: SOCKET = usize::MAX;
pub const INVALID_HANDLE_VALUE: usize = usize::MAX;

#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
pub struct WSADATA {
    pub wVersion: WORD,
    pub wHighVersion: WORD,
    pub iMaxSockets: u16,
    pub iMaxUdpDg: u16,
    pub lpVendorInfo: usize,
    pub szDescription: [u8; 257],
    pub szSystemStatus: [u8; 129],
    pub padding: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct WSABUF {
    pub len: u32,
    pub padding: u32,
    pub buf: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct WSAMSG {
    pub name: usize,
    pub namelen: INT,
    pub padding: u32,
    pub lpBuffers: usize,
    pub dwBufferCount: DWORD,
    pub more_padding: u32,
    pub Control: WSABUF,
    pub dwFlags: DWORD,
    pub end_padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct WSAOVERLAPPED {
    pub Internal: ULONG_PTR,
    pub InternalHigh: ULONG_PTR,
    pub Offset: DWORD,
    pub OffsetHigh: DWORD,
    pub hEvent: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct WSATHREADID {
    pub ThreadHandle: usize,
    pub Reserved: DWORD_PTR,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct GUID {
    pub Data1: u32,
    pub Data2: u16,
    pub Data3: u16,
    pub Data4: [u8; 8],
}

pub const WSAID_WSARECVMSG: GUID = GUID {
    Data1: 0xf689_d7c8,
    Data2: 0x6f1f,
    Data3: 0x436b,
    Data4: [0x8a, 0x53, 0xe5, 0x4f, 0xe3, 0x51, 0xc3, 0x22],
};
pub const WSAID_WSASENDMSG: GUID = GUID {
    Data1: 0xa441_e712,
    Data2: 0x754f,
    Data3: 0x43ca,
    Data4: [0x84, 0xa7, 0x0d, 0xee, 0x44, 0xcf, 0x60, 0x6d],
};
