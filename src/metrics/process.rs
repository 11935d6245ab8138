//! What the operating system counts for this process: plain numbers, some of them unknown.

/// The figures of one moment, under the names that Prometheus's client libraries gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// The processor time used so far, of user and system together.
    pub cpu_seconds: Option<f64>,
    /// When the process was started, in seconds since 1970.
    pub start_seconds: Option<f64>,
    /// The address space that is mapped.
    pub virtual_bytes: Option<u64>,
    /// The memory that is in RAM.
    pub resident_bytes: Option<u64>,
    /// The descriptors in use.
    pub files_open: Option<u64>,
    /// The most descriptors that may be in use.
    pub files_max: Option<u64>,
}
