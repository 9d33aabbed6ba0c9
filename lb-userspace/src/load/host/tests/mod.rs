//! Texts as the kernel writes them, and many that it never should.

mod cgroup;
mod links;
mod locate;
mod normalise;
mod parse;
