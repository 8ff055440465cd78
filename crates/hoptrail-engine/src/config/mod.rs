//! Configuration: TOML in, resolved policy out.
