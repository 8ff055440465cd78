//! The host: cgroups, users, executables, namespaces, and what the kernel can do.
