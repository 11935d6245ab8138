//! Sessions against scripted backends.
