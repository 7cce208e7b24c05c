//! The network device of an environment: made by its init inside of the environment's own network namespace, served by the
//! engine (`network.rs`). Nothing of the machine's network changes for it, and it goes with the environment.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::network::{DEVICE_ADDRESS, MTU, RESOLVER};
use crate::sys::check;

const NAME: &[u8] = b"eth0\0";

/// The machine's folder of network devices, kept open before its file system goes out of sight.
pub fn devices() -> Option<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    fs::OpenOptions::new().read(true).custom_flags(flags).open("/dev/net").ok().map(OwnedFd::from)
}

/// A device without a name yet. It belongs to the network namespace of whoever calls.
pub fn open(devices: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the path is a constant that ends in zero; the descriptor that comes back is nobody else's.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let fd = check(libc::openat(devices, c"tun".as_ptr(), flags))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Gives the device its name, address and size, and leads everything through it that is not the environment itself.
pub fn configure(device: &OwnedFd) -> io::Result<()> {
    // SAFETY: every request is zero where it is not set and lives until its call returns; a socket address fits the union's room
    // for one; the route's name of the device is a constant that ends in zero and is only read.
    unsafe {
        let mut request = named();
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        check(libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request))?;
        let socket = OwnedFd::from_raw_fd(check(libc::socket(
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        ))?);
        let socket = socket.as_raw_fd();
        for (call, address) in [
            (libc::SIOCSIFADDR, DEVICE_ADDRESS),
            (libc::SIOCSIFDSTADDR, RESOLVER),
            (libc::SIOCSIFNETMASK, Ipv4Addr::BROADCAST),
        ] {
            let mut request = named();
            request.ifr_ifru.ifru_addr = socket_address(address);
            check(libc::ioctl(socket, call as _, &raw mut request))?;
        }
        let mut request = named();
        request.ifr_ifru.ifru_mtu = MTU.into();
        check(libc::ioctl(socket, libc::SIOCSIFMTU as _, &raw mut request))?;
        let mut request = named();
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw mut request))?;
        let mut route = std::mem::zeroed::<libc::rtentry>();
        route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_flags = libc::RTF_UP;
        route.rt_dev = NAME.as_ptr().cast_mut().cast();
        check(libc::ioctl(socket, libc::SIOCADDRT as _, &raw mut route))?;
    }
    Ok(())
}

fn named() -> libc::ifreq {
    // SAFETY: an all-zero request is a valid one.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(NAME) {
        *to = *from as libc::c_char;
    }
    request
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let wanted = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: both are sixteen bytes of plain numbers that begin with the family.
    unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(wanted) }
}
