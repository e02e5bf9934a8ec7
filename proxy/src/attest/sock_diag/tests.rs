use std::net::TcpListener;

use proptest::prelude::*;

use super::*;

fn query() -> Query {
    Query {
        local: "172.17.0.2:40000".parse().unwrap(),
        remote: "169.254.169.254:80".parse().unwrap(),
        interface: 3,
        cookie: Some(0x0102_0304_0506_0708),
    }
}

/// An answer as the kernel would write it.
fn answer(family: u8, local: [u8; 16], cgroup: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![family, 1, 0, 0];
    body.extend_from_slice(&40_000_u16.to_be_bytes());
    body.extend_from_slice(&80_u16.to_be_bytes());
    body.extend_from_slice(&local);
    body.extend_from_slice(&address_bytes("169.254.169.254".parse().unwrap()));
    body.extend_from_slice(&0_u32.to_ne_bytes());
    body.extend_from_slice(&halves(77));
    body.extend_from_slice(&[0; 16]);
    body.extend_from_slice(&4711_u32.to_ne_bytes());
    body.extend_from_slice(&[5, 0, 8, 0, 0, 0, 0, 0]);
    if let Some(id) = cgroup {
        body.extend_from_slice(&u16::try_from(4 + id.len()).unwrap().to_ne_bytes());
        body.extend_from_slice(&CGROUP_ID.to_ne_bytes());
        body.extend_from_slice(id);
    }
    netlink::message(BY_FAMILY, 0, 1, &body)
}

#[test]
fn a_question_has_the_kernels_layout() {
    let bytes = encode(&query(), 1);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[16..20], [2, 6, 0, 0]);
    assert_eq!(bytes[24..32], [0x9c, 0x40, 0, 80, 172, 17, 0, 2]);
    assert_eq!(bytes[44..48], [169, 254, 169, 254]);
    assert_eq!(u32_at(&bytes, 60), Some(3));
    assert_eq!(u32_at(&bytes, 64), Some(0x0506_0708));
    assert_eq!(u32_at(&bytes, 68), Some(0x0102_0304));
}

#[test]
fn an_answer_tells_tuple_inode_cookie_and_cgroup() {
    let local = address_bytes("172.17.0.2".parse().unwrap());
    let record = decode(&answer(AF_INET, local, Some(&4242_u64.to_ne_bytes())), 1)
        .unwrap()
        .unwrap();
    let expected = Record {
        family: 2,
        state: 1,
        local: "172.17.0.2:40000".parse().unwrap(),
        remote: "169.254.169.254:80".parse().unwrap(),
        inode: 4711,
        cookie: 77,
        cgroup_id: Some(4242),
    };
    assert_eq!(record, expected);
}

#[test]
fn a_v4_mapped_answer_is_given_as_ipv4() {
    let mapped = Ipv4Addr::new(172, 17, 0, 2).to_ipv6_mapped().octets();
    let record = decode(&answer(AF_INET6, mapped, None), 1).unwrap().unwrap();
    assert_eq!(
        (record.family, record.local, record.cgroup_id),
        (10, "172.17.0.2:40000".parse().unwrap(), None)
    );
}

#[test]
fn a_cgroup_attribute_of_the_wrong_length_is_none() {
    let local = address_bytes("172.17.0.2".parse().unwrap());
    assert_eq!(
        decode(&answer(AF_INET, local, Some(&[1, 2, 3, 4])), 1)
            .unwrap()
            .unwrap()
            .cgroup_id,
        None
    );
}

#[test]
fn no_such_socket_is_an_answer_and_refusal_is_an_error() {
    let error = |number: i32| netlink::message(ERROR, 0, 1, &(-number).to_ne_bytes());
    assert!(matches!(decode(&error(2), 1), Ok(None)));
    assert!(matches!(decode(&error(1), 1), Err(DiagError::Io(_))));
    assert!(matches!(decode(&error(2), 9), Err(DiagError::Malformed)));
}

#[test]
fn this_kernel_finds_a_connection_and_its_cookie_finds_it_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let diag = Diag::open().unwrap();
    let query = Query {
        local: client.local_addr().unwrap(),
        remote: client.peer_addr().unwrap(),
        interface: 0,
        cookie: None,
    };
    let record = diag.ask(&query).unwrap().unwrap();
    assert_eq!(
        (record.local, record.remote, record.state),
        (query.local, query.remote, 1)
    );
    assert_eq!(
        diag.ask(&Query {
            cookie: Some(record.cookie),
            ..query
        })
        .unwrap(),
        Some(record)
    );
    assert_eq!(
        diag.ask(&Query {
            cookie: Some(record.cookie ^ 1),
            ..query
        })
        .unwrap(),
        None
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), sequence in 0_u32..3) {
        let _ = decode(&bytes, sequence);
    }

    #[test]
    fn a_damaged_answer_never_panics(at in 0_usize..200, value in any::<u8>(), cut in 0_usize..200) {
        let mut bytes = answer(AF_INET6, [7; 16], Some(&4242_u64.to_ne_bytes()));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(cut);
        let _ = decode(&bytes, 1);
    }
}
