//! For tests of adapters and of whatever uses the library.
