//! fly
