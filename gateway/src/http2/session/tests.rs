//! A session by itself: what it answers to frames, how windows hold it back, and that no bytes break it.

use super::*;
use crate::http2::answer::Answered;
use crate::http2::hpack;
use proptest::prelude::*;
use std::task::Poll;

const BOUNDS: Bounds = Bounds { streams: 4, header_bytes: 8192 };

/// A session that has had its greeting, and the settings of its client.
fn begun() -> Session {
    let mut session = Session::new(BOUNDS);
    give(&mut session, &written(frame::SETTINGS, 0, 0, &[])).expect("settings");
    let said = said(&mut session);
    assert_eq!(said.iter().map(|(head, _)| head.kind).collect::<Vec<_>>(), [4, 8, 4]);
    session
}

fn written(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::head(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| hpack::field(&mut out, name.as_bytes(), value.as_bytes()));
    out
}

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")];

fn post(stream: u32) -> Vec<u8> {
    written(frame::HEADERS, frame::END_HEADERS, stream, &block(&POST))
}

/// Gives all of the bytes; the slots of the streams that they opened.
fn give(session: &mut Session, mut bytes: &[u8]) -> Result<Vec<usize>, Code> {
    let mut slots = Vec::new();
    while let Some((count, opened)) = session.receive(bytes)? {
        bytes = &bytes[count..];
        slots.extend(opened.map(|opened| opened.slot));
    }
    Ok(slots)
}

/// The frames that waited to be written.
fn said(session: &mut Session) -> Vec<(Head, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut bytes = session.pending().to_vec();
    session.sent(bytes.len());
    while let Some(head) = Head::read(&bytes) {
        let rest = bytes.split_off(frame::HEAD_BYTES + head.length);
        frames.push((head, bytes.split_off(frame::HEAD_BYTES)));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "whole frames");
    frames
}

fn kinds(session: &mut Session) -> Vec<(u8, u32)> {
    said(session).iter().map(|(head, _)| (head.kind, head.stream)).collect()
}

fn read(session: &mut Session, slot: usize) -> Option<String> {
    let mut into = [0; 256];
    match session.read(slot, &mut into) {
        Poll::Ready(Ok(count)) => Some(String::from_utf8_lossy(&into[..count]).into_owned()),
        Poll::Ready(Err(_)) => Some("reset".into()),
        Poll::Pending => None,
    }
}

#[test]
fn a_request_is_read_and_answered() {
    let mut session = begun();
    let slots = give(&mut session, &post(1)).expect("a request");
    let [slot] = slots[..] else { panic!("{slots:?}") };
    assert_eq!(session.request.text(), b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(read(&mut session, slot), None);
    give(&mut session, &written(frame::DATA, 0, 1, b"hello")).expect("data");
    assert_eq!(session.next_woken(), Some(slot));
    assert_eq!(read(&mut session, slot).as_deref(), Some("5\r\nhello\r\n"));
    give(&mut session, &written(frame::HEADERS, 5, 1, &block(&[("sum", "1")]))).expect("trailers");
    assert_eq!(read(&mut session, slot).as_deref(), Some("0\r\nsum: 1\r\n\r\n"));
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    assert!(matches!(
        session.poll_head(slot, head, false),
        Poll::Ready(Ok(Answered { is_interim: false, .. }))
    ));
    assert!(matches!(session.poll_room(slot, 2), Poll::Ready(Ok(2))));
    session.send_data(slot, b"hi", true);
    session.leave(slot);
    let said = said(&mut session);
    assert_eq!(said.len(), 2);
    assert_eq!((said[0].0.kind, said[0].0.flags, said[0].1[0]), (frame::HEADERS, frame::END_HEADERS, 0x88));
    assert_eq!((said[1].0.flags, said[1].1.as_slice()), (frame::END_STREAM, &b"hi"[..]));
    assert!(!session.has_streams());
}

#[test]
fn windows_hold_answers_back() {
    let mut session = begun();
    // Streams begin with ten bytes.
    give(&mut session, &written(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10])).expect("settings");
    let slots = give(&mut session, &[post(1), post(3)].concat()).expect("requests");
    assert!(matches!(session.poll_room(slots[0], 100), Poll::Ready(Ok(10))));
    session.send_data(slots[0], &[0; 10], false);
    assert!(session.poll_room(slots[0], 1).is_pending());
    assert!(matches!(session.poll_room(slots[1], 5), Poll::Ready(Ok(5))), "each has its own");
    let more = |stream: u32, more: u32| written(frame::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    give(&mut session, &more(1, 7)).expect("room");
    assert_eq!(session.next_woken(), Some(slots[0]));
    assert!(matches!(session.poll_room(slots[0], 100), Poll::Ready(Ok(7))));
    // Larger for all of them, and then smaller than what was used of it.
    give(&mut session, &written(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 20])).expect("settings");
    assert!(matches!(session.poll_room(slots[0], 100), Poll::Ready(Ok(17))));
    give(&mut session, &written(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).expect("settings");
    assert!(session.poll_room(slots[0], 100).is_pending());
    give(&mut session, &more(1, 3)).expect("room");
    assert!(session.poll_room(slots[0], 100).is_pending(), "ten were used, and ten were given besides");
    give(&mut session, &more(1, 1)).expect("room");
    assert!(matches!(session.poll_room(slots[0], 100), Poll::Ready(Ok(1))));
    // And all of them together what the connection has.
    give(&mut session, &more(3, 1 << 20)).expect("room");
    let mut sent = 0;
    while let Poll::Ready(room) = session.poll_room(slots[1], 100_000) {
        let room = room.expect("a stream");
        session.send_data(slots[1], &vec![0; room], false);
        sent += room;
        said(&mut session);
    }
    assert_eq!(sent, 65_535 - 10);
    give(&mut session, &more(0, 9)).expect("room");
    assert!(matches!(session.poll_room(slots[1], 100), Poll::Ready(Ok(9))));
}

#[test]
fn what_waits_to_be_written_is_bounded() {
    let mut session = begun();
    let slots = give(&mut session, &post(1)).expect("a request");
    give(&mut session, &written(frame::WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes())).expect("room");
    give(&mut session, &written(frame::WINDOW_UPDATE, 0, 1, &(1_u32 << 20).to_be_bytes())).expect("room");
    let mut sent = 0;
    while let Poll::Ready(room) = session.poll_room(slots[0], 100_000) {
        let room = room.expect("a stream");
        session.send_data(slots[0], &vec![0; room], false);
        sent += room;
    }
    assert!(session.is_full() && sent <= 64 * 1024, "{sent}");
    assert!(session.poll_head(slots[0], b"HTTP/1.1 100 Continue\r\n\r\n", false).is_pending());
    assert_eq!(session.next_woken(), None);
    session.sent(40_000);
    assert_eq!(session.next_woken(), Some(slots[0]));
}

#[test]
fn room_for_bodies_is_given_as_they_are_read() {
    let mut session = begun();
    let slots = give(&mut session, &post(1)).expect("a request");
    let data = written(frame::DATA, 0, 1, &[b'x'; 16_384]);
    for _ in 0..8 {
        give(&mut session, &data).expect("data");
    }
    assert_eq!(kinds(&mut session), []);
    let mut into = vec![0; 70_000];
    assert!(matches!(session.read(slots[0], &mut into), Poll::Ready(Ok(70_000))));
    assert_eq!(kinds(&mut session), [(frame::WINDOW_UPDATE, 1)]);
    // Padding is read as soon as it has come.
    let padded = [&[255][..], &[0; 255]].concat();
    give(&mut session, &written(frame::DATA, frame::PADDED, 1, &padded)).expect("padding");
    // Who sends more than there is room for is at fault.
    let mut told = Vec::new();
    for _ in 0..8 {
        give(&mut session, &data).expect("data");
        told.extend(kinds(&mut session));
    }
    assert!(told.contains(&(frame::RST_STREAM, 1)) && !told.contains(&(frame::WINDOW_UPDATE, 1)), "{told:?}");
    assert_eq!(read(&mut session, slots[0]).as_deref(), Some("reset"));
}

#[test]
fn streams_end_as_they_should() {
    let mut session = begun();
    let slots = give(&mut session, &[post(1), post(3), post(5)].concat()).expect("requests");
    // Answered before its body had come, not answered at all, and reset by the client.
    let head = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
    assert!(session.poll_head(slots[0], head, false).is_ready());
    give(&mut session, &written(frame::RST_STREAM, 0, 5, &8_u32.to_be_bytes())).expect("a reset");
    assert!(!session.look(slots[2]), "nobody has looked at it");
    slots.iter().for_each(|slot| session.leave(*slot));
    let said = said(&mut session);
    let codes: Vec<_> =
        said.iter().skip(1).map(|(head, payload)| (head.stream, frame::number(payload))).collect();
    assert_eq!(codes, [(1, Code::NO_ERROR.0), (3, Code::INTERNAL_ERROR.0)]);
    // What was on its way is no fault of the client; what comes behind its own reset is.
    give(&mut session, &written(frame::DATA, 0, 1, b"x")).expect("data");
    assert_eq!(kinds(&mut session), []);
    give(&mut session, &written(frame::DATA, 0, 5, b"x")).expect("data");
    assert_eq!(kinds(&mut session), [(frame::RST_STREAM, 5)]);
}

#[test]
fn a_farewell_is_said_twice() {
    let mut session = begun();
    let slots = give(&mut session, &post(1)).expect("a request");
    session.ask_to_leave();
    let asked = said(&mut session);
    assert_eq!(frame::number(&asked[0].1), (1 << 31) - 1);
    let slots = [slots, give(&mut session, &post(3)).expect("a request")].concat();
    give(&mut session, &written(frame::PING, frame::ACK, 0, &asked[1].1)).expect("an answer");
    assert_eq!(frame::number(&said(&mut session)[0].1), 3, "the last one that is served");
    assert_eq!(give(&mut session, &post(5)), Ok(vec![]), "and no other");
    // What else it says of that one is no fault, and is not idle as the next one is.
    let more = [
        written(frame::DATA, 0, 5, b"hello"),
        written(frame::WINDOW_UPDATE, 0, 5, &1_u32.to_be_bytes()),
        written(frame::HEADERS, 5, 5, &block(&[("sum", "1")])),
        written(frame::RST_STREAM, 0, 5, &8_u32.to_be_bytes()),
    ];
    assert_eq!(give(&mut session, &more.concat()), Ok(vec![]));
    assert_eq!(kinds(&mut session), []);
    assert_eq!(give(&mut session, &written(frame::DATA, 0, 7, b"x")), Err(Code::PROTOCOL_ERROR));
    slots.iter().for_each(|slot| session.leave(*slot));
    assert!(session.is_over());
}

#[test]
fn trailers_of_a_stream_that_is_over_are_not_kept() {
    let mut session = begun();
    let slots = give(&mut session, &[post(1), post(3)].concat()).expect("requests");
    give(&mut session, &written(frame::RST_STREAM, 0, 1, &8_u32.to_be_bytes())).expect("a reset");
    give(&mut session, &written(frame::HEADERS, 5, 3, &block(&[("sum", "1")]))).expect("trailers");
    // The first is remembered and then named by one byte, so that a few frames could stand for very much.
    let mut large = vec![0x40, 1, b'a', 127, 0xa1, 0x1e];
    large.extend_from_slice(&[b'b'; 4000]);
    for bytes in [large, vec![0xbe; 2], vec![0xbe; 2]] {
        give(&mut session, &written(frame::HEADERS, 5, 1, &bytes)).expect("of no use");
        give(&mut session, &written(frame::HEADERS, 5, 3, &bytes)).expect("a fault of the stream");
    }
    for slot in slots {
        let room = session.slots[slot].inbox.trailers();
        assert!(room.is_empty() && room.capacity() < 4000, "{} bytes", room.capacity());
    }
}

#[test]
fn streams_send_in_turns() {
    let mut session = begun();
    let slots = give(&mut session, &[post(1), post(3), post(5)].concat()).expect("requests");
    for stream in [0, 1, 3, 5] {
        let more = (1_u32 << 30).to_be_bytes();
        give(&mut session, &written(frame::WINDOW_UPDATE, 0, stream, &more)).expect("room");
    }
    // Each has more to send than there ever is room for, and the client takes all of it each time.
    let mut sent = [0; 3];
    let mut turn: Vec<usize> = slots.clone();
    for _ in 0..6 {
        for slot in turn.drain(..) {
            while let Poll::Ready(room) = session.poll_room(slot, 1 << 20) {
                let room = room.expect("a stream");
                session.send_data(slot, &vec![0; room], false);
                sent[slots.iter().position(|known| *known == slot).expect("a slot")] += room;
            }
        }
        said(&mut session);
        turn.extend(std::iter::from_fn(|| session.next_woken()));
        assert_eq!(turn.len(), 3, "all wait for room");
    }
    assert!(sent.iter().all(|bytes| *bytes > 100_000), "{sent:?}");
}

#[test]
fn who_breaks_off_unseen_is_not_counted_as_served() {
    let mut session = begun();
    for (n, is_seen) in (0_u32..).zip([true, false, true, false]) {
        let slots = give(&mut session, &post(n * 2 + 1)).expect("a request");
        if is_seen {
            session.look(slots[0]);
        }
        give(&mut session, &written(frame::RST_STREAM, 0, n * 2 + 1, &8_u32.to_be_bytes())).expect("a reset");
        session.leave(slots[0]);
    }
    assert_eq!(session.broken_off, 4);
    let slots = give(&mut session, &post(9)).expect("a request");
    assert!(session.poll_head(slots[0], b"HTTP/1.1 204 No Content\r\n\r\n", false).is_ready());
    session.leave(slots[0]);
    assert_eq!(session.broken_off, 3);
}

#[test]
fn faults_are_forgiven_by_what_goes_well() {
    let fault = |session: &mut Session, number: u32| -> Result<(), Code> {
        // More than the length that its head gave: a fault of the stream.
        let head = [&POST[..], &[("content-length", "1")]].concat();
        let slots = give(session, &written(frame::HEADERS, frame::END_HEADERS, number, &block(&head)))?;
        give(session, &written(frame::DATA, 0, number, b"xx"))?;
        session.leave(slots[0]);
        let sent = session.pending().len();
        session.sent(sent);
        Ok(())
    };
    let good = |session: &mut Session, number: u32| {
        let slots = give(session, &post(number)).expect("a request");
        assert!(session.poll_head(slots[0], b"HTTP/1.1 204 No Content\r\n\r\n", false).is_ready());
        session.leave(slots[0]);
    };
    let mut session = begun();
    for n in 0..10 * FAULTS_MAX {
        fault(&mut session, n * 4 + 1).expect("one that is forgiven");
        good(&mut session, n * 4 + 3);
    }
    let first = 40 * FAULTS_MAX + 1;
    let faults = (0..=FAULTS_MAX).map(|n| fault(&mut session, first + n * 2));
    let ended: Vec<Result<(), Code>> = faults.collect();
    assert_eq!(ended.iter().position(Result::is_err), Some(FAULTS_MAX as usize), "{ended:?}");
}

#[test]
fn empty_frames_between_others_are_no_flood() {
    let mut session = begun();
    let slots = give(&mut session, &post(1)).expect("a request");
    for _ in 0..1000 {
        give(&mut session, &written(frame::DATA, 0, 1, b"")).expect("an empty frame");
        give(&mut session, &written(frame::DATA, 0, 1, b"x")).expect("data");
        read(&mut session, slots[0]);
        let sent = session.pending().len();
        session.sent(sent);
    }
    let flood = written(frame::DATA, 0, 1, b"").repeat(129);
    assert_eq!(give(&mut session, &flood), Err(Code::ENHANCE_YOUR_CALM));
}

#[test]
fn settings_are_few() {
    let mut session = begun();
    assert_eq!(give(&mut session, &written(frame::SETTINGS, 0, 0, &[0; 32 * 6])), Ok(vec![]));
    let more = written(frame::SETTINGS, 0, 0, &[0; 33 * 6]);
    assert_eq!(give(&mut session, &more), Err(Code::ENHANCE_YOUR_CALM));
}

#[test]
fn a_long_head_goes_in_pieces() {
    let mut session = begun();
    let slots = give(&mut session, &post(1)).expect("a request");
    give(&mut session, &written(frame::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])).expect("settings");
    said(&mut session);
    let head = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(40_000));
    assert!(session.poll_head(slots[0], head.as_bytes(), true).is_ready());
    let said = said(&mut session);
    let flags: Vec<_> = said.iter().map(|(head, _)| (head.kind, head.flags)).collect();
    assert_eq!(flags, [(1, frame::END_STREAM), (9, 0), (9, frame::END_HEADERS)]);
    let block: Vec<u8> = said.into_iter().flat_map(|(_, payload)| payload).collect();
    assert_eq!(block[..2], [0x20, 0x88], "and says that nothing is remembered");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn no_frames_break_a_session(
        frames in prop::collection::vec(
            (0u8..11, prop::sample::select(vec![0u8, 1, 4, 5, 8, 0x20, 0x2d]), 0u32..12, prop::collection::vec(any::<u8>(), 0..12), any::<bool>()),
            0..60,
        ),
    ) {
        let mut session = begun();
        let mut slots: Vec<usize> = Vec::new();
        for (n, (kind, flags, stream, payload, acts)) in frames.into_iter().enumerate() {
            let payload = match kind {
                1 if acts => block(&POST),
                3 | 8 => vec![0, 0, 0, payload.len() as u8],
                4 => payload.chunks_exact(6).flatten().copied().collect(),
                _ => payload,
            };
            match give(&mut session, &written(kind, flags, stream, &payload)) {
                Ok(more) => slots.extend(more),
                Err(_) => return Ok(()),
            }
            prop_assert!(slots.len() <= BOUNDS.streams);
            prop_assert_eq!(session.has_streams(), !slots.is_empty());
            if acts && !slots.is_empty() {
                let slot = slots[n % slots.len()];
                session.look(slot);
                let _ = session.read(slot, &mut [0; 5]);
                match n % 4 {
                    0 => drop(session.poll_head(slot, b"HTTP/1.1 200 OK\r\n\r\n", false)),
                    1 => if let Poll::Ready(Ok(room)) = session.poll_room(slot, 9) {
                        session.send_data(slot, &[0; 9][..room], false);
                    },
                    2 => drop(session.send_trailers(slot, b"a: b\r\n\r\n")),
                    _ => {
                        slots.retain(|kept| *kept != slot);
                        session.leave(slot);
                    }
                }
            }
            while session.next_woken().is_some() {}
            said(&mut session);
        }
    }
}
