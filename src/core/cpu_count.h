#pragma once

namespace commissure {

/// CPUs that this process may run on, at least 1.
int n_allowed_cpus();

/// CPUs' worth of time that the container's control group grants (/sys/fs/cgroup/cpu.max), rounded up, at least 1; the
/// largest int where it sets no limit.
int n_granted_cpus();

}  // namespace commissure
