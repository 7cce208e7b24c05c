//! What a function reaches beyond the node: packets of its environment's device end here, and become connections that the engine
//! makes. So nothing of the machine's own network is changed, no rights are needed for it, and each address is judged first.
//!
//! Addresses that a function may not reach get no answer at all, as in AWS, where a private address of a function without a VPC
//! leads nowhere.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ipstack::{IpStack, IpStackConfig, IpStackStream, IpStackTcpStream, IpStackUdpStream, TcpConfig};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

use crate::spec::Network;

/// The environment's own address on its device, and the address that answers its questions for names.
pub const DEVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 6);
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 5);
/// Packets cross no wire, so they may be long.
pub const MTU: u16 = 9_000;

const DNS: u16 = 53;
const CONNECT: Duration = Duration::from_secs(30);
/// A connection on which nothing was said for so long ends; AWS's own gateways forget them after 350 s.
const IDLE: Duration = Duration::from_secs(350);
const UDP_IDLE: Duration = Duration::from_secs(30);
/// Open connections of one environment: a function has no more descriptors than this either.
const MOST_FLOWS: usize = 1_024;

/// Whether a function may reach an address of the outside. Pure.
///
/// `Internet` is the public internet alone; `Open` is whatever this machine reaches. What is local to a link is reached by nobody:
/// a cloud machine's credentials are served there.
pub fn is_reachable(network: Network, address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_never = address.is_unspecified()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || first == 0;
    let is_private = address.is_private()
        || (first == 100 && second & 0xc0 == 64)
        || (first == 198 && second & 0xfe == 18)
        || first >= 240;
    match network {
        Network::Open => !is_never,
        Network::Internet => !is_never && !is_private,
        Network::Platform | Network::None => false,
    }
}

/// Serves an environment's device for as long as the task lives.
pub async fn serve(device: OwnedFd, network: Network) {
    let Ok(device) = Device::new(device, network) else { return };
    // Most functions never send a packet: a stack is made with the first one.
    if device.fd.readable().await.is_err() {
        return;
    }
    let mut config = IpStackConfig::default();
    config.mtu_unchecked(MTU).udp_timeout(UDP_IDLE);
    let mut tcp = TcpConfig::default();
    tcp.timeout = IDLE;
    config.with_tcp_config(tcp);
    let mut stack = IpStack::new(config, device);
    let flows = Arc::new(AtomicUsize::new(0));
    while let Ok(stream) = stack.accept().await {
        let Some(flow) = Flow::begin(&flows) else { continue };
        match stream {
            IpStackStream::Tcp(stream) => {
                tokio::spawn(async move {
                    connect(stream, network).await;
                    drop(flow);
                });
            }
            IpStackStream::Udp(stream) => {
                tokio::spawn(async move {
                    exchange(stream, network).await;
                    drop(flow);
                });
            }
            IpStackStream::UnknownTransport(_) | IpStackStream::UnknownNetwork(_) => {}
        }
    }
}

/// Counts one open connection.
struct Flow(Arc<AtomicUsize>);

impl Flow {
    fn begin(all: &Arc<AtomicUsize>) -> Option<Flow> {
        if all.fetch_add(1, Ordering::Relaxed) >= MOST_FLOWS {
            all.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Flow(all.clone()))
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a connection really goes; `None`: nowhere.
async fn target(to: SocketAddr, network: Network, turn: usize) -> Option<SocketAddr> {
    if to.ip() == IpAddr::V4(RESOLVER) {
        let servers = tokio::task::spawn_blocking(name_servers).await.unwrap_or_default();
        let server = *servers.get(turn % servers.len().max(1))?;
        return (to.port() == DNS).then(|| SocketAddr::new(server, DNS));
    }
    if network == Network::Open {
        return Some(to);
    }
    // An address that we would speak from is this machine itself: its own services are not the internet's.
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    probe.connect(to).await.ok()?;
    (probe.local_addr().ok()?.ip() != to.ip()).then_some(to)
}

/// The machine's own resolvers.
fn name_servers() -> Vec<IpAddr> {
    servers_of(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn servers_of(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.trim().parse().ok()).collect()
}

async fn connect(mut inner: IpStackTcpStream, network: Network) {
    let Some(to) = target(inner.peer_addr(), network, 0).await else { return };
    let Ok(Ok(mut outer)) = tokio::time::timeout(CONNECT, TcpStream::connect(to)).await else { return };
    let _ = outer.set_nodelay(true);
    // Either end may go at any time; the other one sees it.
    let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
}

async fn exchange(mut inner: IpStackUdpStream, network: Network) {
    let to = inner.peer_addr();
    let mut from_inside = vec![0u8; usize::from(MTU)];
    let mut from_outside = vec![0u8; usize::from(MTU)];
    let mut outer: Option<UdpSocket> = None;
    let mut turn = 0;
    loop {
        tokio::select! {
            read = inner.read(&mut from_inside) => {
                let Ok(length @ 1..) = read else { return };
                // A question for a name that is asked again goes to the next resolver.
                if outer.is_none() || to.ip() == IpAddr::V4(RESOLVER) {
                    outer = open(to, network, turn).await;
                    turn += 1;
                }
                let Some(outer) = &outer else { return };
                // A datagram may be lost anywhere.
                let _ = outer.send(&from_inside[..length]).await;
            }
            received = receive(outer.as_ref(), &mut from_outside) => {
                let Ok(length) = received else { continue };
                if inner.write_all(&from_outside[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn open(to: SocketAddr, network: Network, turn: usize) -> Option<UdpSocket> {
    let to = target(to, network, turn).await?;
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(to).await.ok()?;
    Some(socket)
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<usize> {
    match socket {
        Some(socket) => socket.recv(buffer).await,
        None => std::future::pending().await,
    }
}

/// The engine's end of an environment's device: one packet a read, one packet a write. Packets to where the function may not go
/// never come out of it.
struct Device {
    fd: AsyncFd<OwnedFd>,
    network: Network,
}

impl Device {
    fn new(fd: OwnedFd, network: Network) -> io::Result<Device> {
        // SAFETY: the descriptor is owned by the value that is registered, so it stays open and the same while it is.
        Ok(Device { fd: unsafe { AsyncFd::register(fd) }?, network })
    }

    fn lets_out(&self, packet: &[u8]) -> bool {
        destination(packet).is_some_and(|to| to == RESOLVER || is_reachable(self.network, to))
    }
}

/// Of an IPv4 packet.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_version_4 = packet.first()? >> 4 == 4;
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_version_4.then(|| Ipv4Addr::from(address))
}

impl AsyncRead for Device {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Ok(mut ready) = ready!(self.fd.poll_read_ready(cx)) else { return Poll::Pending };
            let room = buffer.initialize_unfilled();
            let read = ready.try_io(|fd| {
                // SAFETY: reads at most as many bytes as there are, into memory that lives until the call returns.
                let length =
                    unsafe { libc::read(fd.get_ref().as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            });
            match read {
                Ok(Ok(length)) if self.lets_out(&room[..length]) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Ok(Ok(_)) | Err(_) => {}
                // The environment is gone, and its device with it: the task that waits here ends with it too.
                Ok(Err(_)) => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for Device {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let Ok(mut ready) = ready!(self.fd.poll_write_ready(cx)) else {
                return Poll::Ready(Ok(packet.len()));
            };
            let written = ready.try_io(|fd| {
                // SAFETY: the packet lives until the call returns.
                let length =
                    unsafe { libc::write(fd.get_ref().as_raw_fd(), packet.as_ptr().cast(), packet.len()) };
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            });
            match written {
                Ok(Ok(length)) => return Poll::Ready(Ok(length)),
                // As on any wire, a packet may be lost: who sent it sends it again.
                Ok(Err(_)) => return Poll::Ready(Ok(packet.len())),
                Err(_) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_is_what_is_public_and_nothing_local_is_ever_reached() {
        let cases = [
            // address, by Internet, by Open
            ("203.0.113.80", true, true),
            ("8.8.8.8", true, true),
            ("10.1.2.3", false, true),
            ("172.16.0.1", false, true),
            ("172.32.0.1", true, true),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("100.128.0.1", true, true),
            ("198.18.0.1", false, true),
            ("127.0.0.1", false, false),
            ("169.254.169.254", false, false),
            ("169.254.100.1", false, false),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
        ];
        for (text, internet, open) in cases {
            let address: Ipv4Addr = text.parse().unwrap();
            assert_eq!(is_reachable(Network::Internet, address), internet, "{text}");
            assert_eq!(is_reachable(Network::Open, address), open, "{text}");
            assert!(!is_reachable(Network::Platform, address) && !is_reachable(Network::None, address));
        }
    }

    #[test]
    fn a_packet_tells_where_it_goes() {
        let mut packet = vec![0u8; 20];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[203, 0, 113, 80]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(203, 0, 113, 80)));
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None, "version 6");
        assert_eq!(destination(&packet[..19]), None);
        assert_eq!(destination(&[]), None);
    }

    #[test]
    fn resolvers_are_read_as_the_machine_has_them() {
        let text = "# comment\nsearch example\nnameserver 10.0.0.2\nnameserver  fd00::1 \nnameserver x\n";
        let expected: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(servers_of(text), expected);
    }
}
