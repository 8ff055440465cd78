//! How the destination is reached: directly, or through another proxy. Nothing here does I/O.
