//! What a relay does, from its file and its options; and how the file's rules are read again.

use super::args::RelayArgs;
use crate::failure::Failure;
use hoptrail_relay::Relay;
use hoptrail_relay::config::{Config, File, FileError, Inspect};
use hoptrail_relay::rules::Rules;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Settings and rules.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) rules: Arc<Rules>,
    file: Option<(PathBuf, File)>,
}

/// A file that was read again.
pub(super) struct Reloaded {
    pub(super) rules: Arc<Rules>,
    /// Settings that are written otherwise than before, which counts after a restart only.
    pub(super) differences: Vec<&'static str>,
}

impl Settings {
    /// Reads the file, if there is one; options count instead of it.
    pub(super) fn of(args: &RelayArgs) -> Result<Self, Failure> {
        let file = match &args.config {
            Some(path) => Some((path.clone(), File::load(path)?)),
            None => None,
        };
        let mut config = file.as_ref().map(|(_, file)| file.config()).unwrap_or_default();
        for (field, values) in &args.given {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            field
                .read(&mut config, &values)
                .map_err(|wrong| Failure::new(format!("--{}: {wrong}", field.name)))?;
        }
        config.check().map_err(Failure::new)?;
        let rules = file.as_ref().map(|(_, file)| file.rules()).unwrap_or_default();
        can_be_asked(&config, &rules)?;
        Ok(Self { config, rules, file })
    }

    /// Reads the file again. When it is wrong, nothing has changed.
    pub(super) fn reload(&mut self) -> Result<Reloaded, Failure> {
        let Some((path, before)) = &mut self.file else {
            return Err(Failure::new("there is no --config, so there are no rules to be read"));
        };
        let file = File::load(path)?;
        let differences = before.differences(&file);
        let rules = file.rules();
        can_be_asked(&self.config, &rules)?;
        // Differences are said once.
        *before = file;
        Ok(Reloaded { rules, differences })
    }

    /// One line on what the relay does.
    pub(super) fn summary(&self, relay: &Relay, metrics: Option<SocketAddr>) -> String {
        let all: Vec<String> = relay.addresses().iter().map(SocketAddr::to_string).collect();
        let mut text = format!("relay listens at {}, {}", all.join(", "), self.transports());
        if let Some(to) = self.config.forward {
            text += &format!(", forwards to {to}");
        }
        if let Some(at) = metrics {
            text += &format!(", metrics at http://{at}/metrics");
        }
        text
    }
}

/// Rules that ask what a connection speaks need somebody to look.
fn can_be_asked(config: &Config, rules: &Rules) -> Result<(), Failure> {
    if config.inspect == Inspect::None && rules.need_findings() {
        return Err(Failure::new(
            "a rule has \"name\", \"protocol\" or \"deny-with\", but \"inspect\" is \"none\": nothing would be \
             known to ask it; set \"inspect\" to \"first\", or leave these rules out",
        ));
    }
    Ok(())
}

impl Settings {
    fn transports(&self) -> String {
        let threads = self.config.workers();
        let s = if threads.get() == 1 { "" } else { "s" };
        match (self.config.transports.tcp, self.config.transports.udp) {
            (true, true) => format!("TCP on {threads} thread{s} and UDP"),
            (true, false) => format!("TCP on {threads} thread{s}"),
            (false, _) => "UDP".to_owned(),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(error.to_string())
    }
}
