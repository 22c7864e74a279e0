//! The groups of the process at the other end of a UNIX socket (SO_PEERGROUPS of socket(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Groups that are read; the kernel allows a process 65536. A service's group is among the first.
const GROUPS_MAX: usize = 1024;

/// The supplementary groups that the process had when it connected.
///
/// # Errors
/// The kernel's error, or ERANGE if the process has more than `GROUPS_MAX` groups.
pub(crate) fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; GROUPS_MAX];
    let bytes = size_of_val(groups.as_slice());
    let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: `groups` is a valid buffer of `length` bytes for the whole call, the kernel writes at most
    // `length` bytes of numbers into it and the written length into `length`, and the descriptor is open.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(length).unwrap_or_default() / size_of::<u32>();
    groups.truncate(count);
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_groups_of_this_process_are_those_of_its_own_peer() {
        let (one, _other) = UnixStream::pair().expect("sockets");
        let mut found = peer_groups(&one).expect("the kernel answers");
        let own = rustix::process::getgroups().expect("the kernel answers");
        let mut own: Vec<_> = own.into_iter().map(rustix::process::Gid::as_raw).collect();
        found.sort_unstable();
        own.sort_unstable();
        assert_eq!(found, own);
    }
}
