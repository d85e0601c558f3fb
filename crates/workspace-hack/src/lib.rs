//! No code: the dependencies of this crate turn on, for every build, the features that some build needs.
