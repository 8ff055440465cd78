//! The documented Winsock calls for redirect records, on Linux.
