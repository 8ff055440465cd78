//! What must hold beyond single settings.

use super::{Config, Inspect};

impl Config {
    /// What is wrong with the settings together; to be asked once all of them are known.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err(
                "nowhere to listen: name an address with --listen, such as 127.0.0.1:15871, \
                        or with \"listen\" in the file"
                    .into(),
            );
        }
        if let Some(to) = self.forward.filter(|to| self.listens_at(*to)) {
            return Err(format!(
                "\"forward\" is {to}, where the relay itself listens: it would connect to itself without end; name \
                 another address"
            ));
        }
        if let Some(at) = self.metrics.filter(|at| self.transports.tcp && self.listens_at(*at)) {
            return Err(format!(
                "\"metrics\" is {at}, where the relay itself listens; name another port"
            ));
        }
        match (self.inspect, self.watch.is_empty()) {
            (Inspect::All, true) => {
                Err("\"inspect\" is \"all\", but there is nothing to search for: \
                name patterns with \"watch\""
                    .into())
            }
            (Inspect::First | Inspect::None, false) => {
                Err("\"watch\" needs every byte: set \"inspect\" to \
                \"all\""
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn listens_at(&self, address: std::net::SocketAddr) -> bool {
        self.listen.iter().any(|at| {
            let same =
                at.ip() == address.ip() || (at.ip().is_unspecified() && address.ip().is_loopback());
            same && at.port() == address.port() && at.port() != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listen: &str, forward: &str, metrics: &str) -> Result<(), String> {
        let some = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let (forward, metrics) = (some(forward), some(metrics));
        Config { listen: some(listen).into_iter().collect(), forward, metrics, ..Config::default() }
            .check()
    }

    #[test]
    fn watching_and_inspecting_all_go_together() {
        let with = |inspect, watch: &[&[u8]]| {
            let watch = watch.iter().map(|pattern| pattern.to_vec()).collect();
            let listen = vec!["127.0.0.1:5".parse().unwrap()];
            Config { listen, inspect, watch, ..Config::default() }.check()
        };
        assert!(with(Inspect::All, &[b"SECRET"]).is_ok() && with(Inspect::First, &[]).is_ok());
        assert!(with(Inspect::All, &[]).unwrap_err().contains("\"watch\""));
        assert!(with(Inspect::First, &[b"SECRET"]).unwrap_err().contains("\"inspect\""));
    }

    #[test]
    fn a_relay_needs_a_place_and_does_not_forward_to_itself() {
        assert!(check("", "", "").unwrap_err().contains("--listen"));
        assert!(check("127.0.0.1:5", "127.0.0.1:6", "127.0.0.1:7").is_ok());
        assert!(check("127.0.0.1:0", "127.0.0.1:6", "127.0.0.1:0").is_ok());
        assert!(check("127.0.0.1:5", "127.0.0.1:5", "").unwrap_err().contains("\"forward\""));
        assert!(check("0.0.0.0:5", "127.0.0.1:5", "").is_err());
        assert!(check("127.0.0.1:5", "", "127.0.0.1:5").unwrap_err().contains("\"metrics\""));
    }
}
