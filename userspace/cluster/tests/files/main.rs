//! Sources in files, as the agent follows them. Their tests mostly wait, and do so beside each other.

mod services;
mod source;
