//! What an external authoriser answers (`envoy.service.auth.v3`): a yes is believed only where a simple reader of the
//! same bytes sees one, and no doubt beside it.

use policy::kinds::ext_authz::says_yes;

/// One field of a message: its number, and its value if that is a number or bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

/// Reads fields as protobuf writes them; nothing if that cannot be.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes)?;
        match key & 7 {
            0 => fields.push(Field::Number(key >> 3, number(&mut bytes)?)),
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                fields.push(Field::Bytes(key >> 3, value));
                bytes = rest;
            }
            5 => bytes = bytes.get(4..)?,
            // Groups, which nobody writes any more.
            _ => return None,
        }
    }
    Some(fields)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Checks these bytes as what comes back of a call of gRPC.
pub(crate) fn check(bytes: &[u8]) {
    let said = says_yes(bytes);
    let message = bytes.get(5..).unwrap_or_default();
    let is_whole = bytes.len() >= 5
        && bytes[0] == 0
        && u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize == message.len();
    if !is_whole {
        assert!(said.is_err(), "what is not one whole message is read");
        return;
    }
    let Some(all) = fields(message) else {
        assert_ne!(said, Ok(true), "a broken message is a yes");
        return;
    };
    let (mut code, mut has_status, mut has_ok, mut is_denied) = (0, false, false, false);
    for field in &all {
        match field {
            Field::Bytes(1, status) => {
                has_status = true;
                // A field that is there twice is merged.
                for field in fields(status).unwrap_or_default() {
                    if let Field::Number(1, value) = field {
                        code = u32::try_from(value & 0xFFFF_FFFF).unwrap_or_default();
                    }
                }
            }
            Field::Bytes(2, _) => is_denied = true,
            Field::Bytes(3, _) => has_ok = true,
            _ => {}
        }
    }
    let is_yes = !is_denied && code == 0 && (has_status || has_ok);
    assert!(said != Ok(true) || is_yes, "believed is a yes that nobody said: {bytes:?}");
    assert!(said != Ok(false) || is_denied || code != 0, "a no that nobody said: {bytes:?}");
}
