//! The inspecting relay: accepts redirected connections, inspects, dials on, and copies the cheapest correct way.
