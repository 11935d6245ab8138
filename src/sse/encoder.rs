//! Finished events, each a block of lines that an empty line ends.
//!
//! Knows nothing of their recipients, nor of what the data says.

/// Appends an event. `data` is one line; `id` appends the event's id, without a line end, or nothing
/// for an event that leaves the reader's id as it is.
pub fn append_event(
    name: Option<&str>,
    id: impl FnOnce(&mut Vec<u8>),
    data: &[u8],
    out: &mut Vec<u8>,
) {
    debug_assert!(!data.contains(&b'\n'), "data is one line");
    let start = out.len();
    out.extend_from_slice(b"id: ");
    let id_start = out.len();
    id(out);
    if out.len() == id_start {
        // An empty id would reset the reader's.
        out.truncate(start);
    } else {
        out.push(b'\n');
    }
    if let Some(name) = name {
        for part in ["event: ", name, "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

/// Appends a comment, which keeps the connection alive and which no reader sees.
pub fn append_comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

/// Appends the time after which the reader is to connect again when the stream has ended.
pub fn append_retry(milliseconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("retry: {milliseconds}\n\n").as_bytes());
}

/// The length of the first event in `bytes`, which are our own events.
pub fn event_bytes(bytes: &[u8]) -> usize {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    end.map_or(bytes.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_to_the_letter() {
        let mut out = Vec::new();
        append_retry(1_500, &mut out);
        append_event(None, |out| out.extend(b"e:1"), b"{\"a\":1}", &mut out);
        append_event(Some("status"), |_| {}, b"{}", &mut out);
        append_comment(&mut out);
        let expected = "retry: 1500\n\n\
                        id: e:1\ndata: {\"a\":1}\n\n\
                        event: status\ndata: {}\n\n\
                        :\n\n";
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        let mut lengths = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            lengths.push(event_bytes(rest));
            rest = &rest[event_bytes(rest)..];
        }
        assert_eq!(lengths, [13, 23, 24, 3]);
    }
}
