//! Messages with descriptors over a SEQPACKET socket: how engine, launcher and inits speak.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most descriptors in one message.
const MAX_FDS: usize = 8;
/// Most bytes in one message: variables (4 KB), paths and arguments fit many times over.
const MAX_BYTES: usize = 128 * 1024;

/// Sends one message. The socket may be blocking or not.
pub fn send<M: Serialize>(socket: BorrowedFd<'_>, message: &M, fds: &[RawFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_BYTES || fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large"));
    }
    let mut vector = libc::iovec { iov_base: bytes.as_ptr() as *mut libc::c_void, iov_len: bytes.len() };
    let mut control = ControlBuffer::default();
    // SAFETY: an all-zero header is valid, and is filled with pointers to values that live until the call returns; the control
    // buffer is aligned for `cmsghdr` and has room for MAX_FDS descriptors.
    let sent = unsafe {
        let mut header = std::mem::zeroed::<libc::msghdr>();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let length = size_of_val(fds) as libc::c_uint;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(length) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(length) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(first).cast(), fds.len());
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for one control message with `MAX_FDS` descriptors, aligned as the kernel wants it.
#[repr(align(8))]
struct ControlBuffer([u8; 128]);

impl Default for ControlBuffer {
    fn default() -> ControlBuffer {
        ControlBuffer([0; 128])
    }
}

/// Receives one message; `None` at the end of the connection. On a non-blocking socket `WouldBlock` means "none yet".
pub fn receive<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0u8; MAX_BYTES];
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = ControlBuffer::default();
    let mut fds = Vec::new();
    // SAFETY: as in `send`; received descriptors are ours alone.
    let received = unsafe {
        let mut header = std::mem::zeroed::<libc::msghdr>();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        let received = libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        if received >= 0 {
            let mut next = libc::CMSG_FIRSTHDR(&raw const header);
            while !next.is_null() {
                if (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_RIGHTS {
                    let length = (*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                    let data: *const RawFd = libc::CMSG_DATA(next).cast();
                    for index in 0..length / size_of::<RawFd>() {
                        fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                    }
                }
                next = libc::CMSG_NXTHDR(&raw const header, next);
            }
        }
        received
    };
    match usize::try_from(received) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some((serde_json::from_slice(&bytes[..length])?, fds))),
    }
}

/// `receive` on a blocking socket that goes on after signals.
pub fn receive_blocking<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    loop {
        match receive(socket) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::sys;

    #[test]
    fn messages_keep_their_borders_and_bring_descriptors() {
        let (left, right) = sys::seqpacket_pair().unwrap();
        let (read, write) = sys::pipe().unwrap();
        send(left.as_fd(), &"one", &[]).unwrap();
        send(left.as_fd(), &"two", &[read.as_raw_fd(), write.as_raw_fd()]).unwrap();
        drop(left);
        let (one, none) = receive::<String>(right.as_fd()).unwrap().unwrap();
        let (two, both) = receive::<String>(right.as_fd()).unwrap().unwrap();
        assert_eq!((one.as_str(), none.len(), two.as_str(), both.len()), ("one", 0, "two", 2));
        assert!(receive::<String>(right.as_fd()).unwrap().is_none(), "the other end is gone");
    }
}
