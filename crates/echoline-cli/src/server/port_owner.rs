//! Finds the process that holds a port, for the error message about a port in use. Reads Linux's
//! /proc.

use std::{fs, io};

use echoline::Address;
use echoline::listener::Scheme;
use echoline_base::printable::printable;

/// Returns the error message about an address that cannot be bound, with the process that holds its
/// port if it is known.
pub(crate) fn with_holder(error: &io::Error, address: &Address) -> String {
    match holder(address).filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, id)) => format!("{error}; {name} (process {id}) holds it"),
        None => error.to_string(),
    }
}

/// Returns the name and process id of the holder of the port of `address`, if this user may see it.
fn holder(address: &Address) -> Option<(String, u32)> {
    // The state of a listening socket in the tables: LISTEN for TCP, CLOSE (not connected) for UDP.
    let (tables, state) = match address.scheme() {
        Scheme::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
        _ => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
    };
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| waiting(&table, address.port(), state))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let id = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|id| has_open(*id, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    // A process can give itself any name, also one with control characters.
    Some((printable(name.trim_end()).into_owned(), id))
}

/// Returns the inodes of the sockets in a table of proc(5) that have `port` and are in `state`.
fn waiting(table: &str, port: u16, state: &str) -> Vec<String> {
    let local = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&local) && row[3] == state)
        .map(|row| row[9].to_owned())
        .collect()
}

fn has_open(id: u32, sockets: &[String]) -> bool {
    let open = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 10: the process that holds the port is found.
    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
        for address in [tcp.to_string(), format!("udp://{udp}")] {
            let (name, id) = holder(&address.parse().unwrap()).unwrap();
            assert_eq!(id, std::process::id());
            assert!(!name.is_empty() && !name.contains('\n'), "{name:?}");
        }
        drop(listener);
        assert_eq!(holder(&tcp.into()), None);
    }

    #[test]
    fn a_table_is_read_as_proc_writes_it() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr ...\n\
            0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 12345 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:8000 01 0:0 00:0 0 0 0 12346 1 0\n";
        assert_eq!(waiting(table, 8080, "0A"), ["12345"]);
        assert!(waiting(table, 8081, "0A").is_empty());
    }
}
