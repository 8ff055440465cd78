//! Redirect records for Linux proxies.
