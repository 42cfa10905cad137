//! Where processes listen, read from outside through `/proc`: for a server that is not where it was told to be.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Addresses that are told; a server that listens on more is not short of places.
const ADDRESSES_MAX: usize = 4;
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 4_096;
/// `TCP_LISTEN` in the fourth column of `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// TCP addresses on which any of these processes listens.
pub(super) fn listening(pids: &[u32]) -> Vec<SocketAddr> {
    let sockets: HashSet<u64> = pids.iter().flat_map(|pid| sockets(*pid)).collect();
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        let ours = text.lines().skip(1).filter_map(row).filter(|(_, inode)| sockets.contains(inode));
        found.extend(ours.map(|(address, _)| address));
    }
    found.truncate(ADDRESSES_MAX);
    found
}

/// Inodes of the sockets that a process has open.
fn sockets(pid: u32) -> Vec<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return vec![] };
    let inode = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    descriptors.flatten().take(DESCRIPTORS_MAX).filter_map(inode).collect()
}

/// The address and the inode of a listening socket's row.
fn row(line: &str) -> Option<(SocketAddr, u64)> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
    if *state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of four bytes, each in the machine's own order.
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[4 * at..4 * at + 4].copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, port), inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn listeners_are_found_and_connections_are_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _connection = TcpStream::connect(address).unwrap();
        // Other tests of this process listen, too.
        let ours: HashSet<u64> = sockets(std::process::id()).into_iter().collect();
        let text = fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = text.lines().skip(1).filter_map(row).filter(|(_, inode)| ours.contains(inode));
        assert_eq!(rows.filter(|(at, _)| *at == address).count(), 1);
        assert_eq!(listening(&[]), []);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn both_families_are_read() {
        let v4 =
            "  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0        0 4242 1";
        assert_eq!(row(v4), Some(("127.0.0.1:8080".parse().unwrap(), 4242)));
        let v6 = "  1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1";
        assert_eq!(row(v6), Some(("[::1]:80".parse().unwrap(), 7)));
        for bad in ["", "x", "0: 0100007F:1F90 0:0 01 0 0 0 0 0 1", "0: 01:1F90 0:0 0A 0 0 0 0 0 1"] {
            assert_eq!(row(bad), None, "{bad}");
        }
    }
}
