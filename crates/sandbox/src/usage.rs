//! Memory of processes where no cgroup counts it.

use std::fs;

/// Bytes resident in this process and everything below it, as far as it can be seen.
pub fn resident_below(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let own = line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) << 10;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below: u64 =
        children.split_whitespace().filter_map(|text| text.parse().ok()).map(resident_below).sum();
    own + below
}
