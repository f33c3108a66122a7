//! Header compression (RFC 7541): fields are written as plain literals, and anything is read.

/// The names and values of the static table (appendix A).
const STATIC: &str = ":authority\n:method GET\n:method POST\n:path /\n:path /index.html\n:scheme http\n\
:scheme https\n:status 200\n:status 204\n:status 206\n:status 304\n:status 400\n:status 404\n\
:status 500\naccept-charset\naccept-encoding gzip, deflate\naccept-language\naccept-ranges\naccept\n\
access-control-allow-origin\nage\nallow\nauthorization\ncache-control\ncontent-disposition\n\
content-encoding\ncontent-language\ncontent-length\ncontent-location\ncontent-range\ncontent-type\n\
cookie\ndate\netag\nexpect\nexpires\nfrom\nhost\nif-match\nif-modified-since\nif-none-match\n\
if-range\nif-unmodified-since\nlast-modified\nlink\nlocation\nmax-forwards\nproxy-authenticate\n\
proxy-authorization\nrange\nreferer\nrefresh\nretry-after\nserver\nset-cookie\n\
strict-transport-security\ntransfer-encoding\nuser-agent\nvary\nvia\nwww-authenticate";

/// The characters of the Huffman code by the number of their bits (appendix B). Codes of one length follow
/// each other, and the first of the next length follows on them.
const HUFFMAN: [(u32, &str); 11] = [
    (5, "012aceiost"),
    (6, " %-./3456789=A_bdfghlmnpru"),
    (7, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, "&*,;XZ"),
    (9, ""),
    (10, "!\"()?"),
    (11, "'+|"),
    (12, "#>"),
    (13, "\0$@[]~"),
    (14, "^}"),
    (15, "<`{"),
];

/// A literal field that is not indexed.
pub(crate) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        number(&mut bytes, text.len());
        bytes.extend(text);
    }
    bytes
}

/// A length with a prefix of seven bits (5.1).
fn number(bytes: &mut Vec<u8>, number: usize) {
    if number < 127 {
        return bytes.push(u8::try_from(number).unwrap());
    }
    bytes.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

type Field = (String, String);

/// Reads header blocks of one connection.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The newest first.
    dynamic: Vec<Field>,
}

impl Decoder {
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        while let Some(first) = block.first() {
            match *first {
                0x80.. => {
                    let index = integer(&mut block, 7);
                    fields.push(self.indexed(index));
                }
                0x20..0x40 => {
                    integer(&mut block, 5);
                }
                first => {
                    let is_kept = first & 0x40 != 0;
                    let index = integer(&mut block, if is_kept { 6 } else { 4 });
                    let name = if index == 0 { string(&mut block) } else { self.indexed(index).0 };
                    let field = (name, string(&mut block));
                    if is_kept {
                        self.dynamic.insert(0, field.clone());
                    }
                    fields.push(field);
                }
            }
        }
        fields
    }

    fn indexed(&self, index: usize) -> Field {
        match STATIC.lines().nth(index - 1) {
            Some(line) => {
                let (name, value) = line.split_once(' ').unwrap_or((line, ""));
                (name.to_owned(), value.to_owned())
            }
            None => self.dynamic.get(index - 62).expect("a field in the table").clone(),
        }
    }
}

fn byte(block: &mut &[u8]) -> u8 {
    let (first, rest) = block.split_first().expect("more bytes");
    *block = rest;
    *first
}

fn integer(block: &mut &[u8], bits: u32) -> usize {
    let most = (1 << bits) - 1;
    let mut number = usize::from(byte(block)) & most;
    let mut shift = 0;
    while number >= most {
        let next = byte(block);
        number += usize::from(next & 127) << shift;
        shift += 7;
        if next & 128 == 0 {
            break;
        }
    }
    number
}

fn string(block: &mut &[u8]) -> String {
    let is_huffman = block.first().expect("more bytes") & 128 != 0;
    let length = integer(block, 7);
    let (text, rest) = block.split_at(length);
    *block = rest;
    if is_huffman { huffman(text) } else { String::from_utf8(text.to_vec()).unwrap() }
}

fn huffman(bytes: &[u8]) -> String {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1)));
    let mut text = String::new();
    let (mut code, mut length) = (0, 0);
    for bit in bits {
        code = code << 1 | bit;
        length += 1;
        if let Some(character) = character(code, length) {
            text.push(character);
            (code, length) = (0, 0);
        }
    }
    assert!(length < 8, "the padding is short");
    text
}

fn character(code: u32, length: u32) -> Option<char> {
    let mut first = 0;
    for (bits, characters) in HUFFMAN {
        let count = u32::try_from(characters.len()).unwrap();
        if bits == length && (first..first + count).contains(&code) {
            return characters.chars().nth((code - first) as usize);
        }
        first = (first + count) << 1;
    }
    None
}
