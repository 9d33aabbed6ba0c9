//! Real connections through real attach points, in network namespaces: the kernel's TCP and UDP,
//! curl, and the built-in load against the daemon as it runs in production.

mod netns {
    mod failures;
    mod hooks;
    mod policies;
    mod process;
    mod traffic;
    pub(crate) mod world;
}
