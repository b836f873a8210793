//! What a user's task is written with.
