//! The parser's complaints in the words of those who write configs.

use granit_parser::ErrorKind;

/// A complaint: its stable name, what is wrong, and what to do.
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Option<&'static str>,
    /// A text in quotes seems to have no end.
    pub(super) is_open_quote: bool,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { code: "invalid_yaml", message: message.into(), help: None, is_open_quote: false }
    }

    const fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }
}

const QUOTES: &str = "put quotes around the text if it is meant as a text";

/// Puts what the parser found into words.
pub(super) fn fault(kind: &ErrorKind) -> Fault {
    collections(kind).or_else(|| scalars(kind)).unwrap_or_else(|| other(kind))
}

fn other(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::InvalidBlockEntryWhitespace
        | ErrorKind::InvalidMappingValueWhitespace
        | ErrorKind::TabInPlainScalar => tab(),
        ErrorKind::RecursionLimitExceeded => Fault {
            code: "too_deep",
            ..Fault::new("lists and maps are nested too deeply").help("make the document flatter")
        },
        ErrorKind::DirectiveDisallowed => Fault {
            code: "directive",
            ..Fault::new("directives such as `%YAML` are not used here").help("remove the line")
        },
        ErrorKind::BomInsideDocument => {
            Fault::new("there is a byte order mark (U+FEFF) inside the file").help("remove it")
        }
        ErrorKind::ExpectedDocumentStart | ErrorKind::InvalidDocumentEnd => {
            Fault::new("something follows where the document has already ended")
                .help("check the indentation of this line, and that a space follows each `:`")
        }
        ErrorKind::MissingAnchorOrAliasName => {
            Fault::new("a name is missing after `&` or `*`").help(QUOTES)
        }
        other => {
            let text = other.to_string();
            let text = text.trim_end_matches('.');
            Fault::new(if text.is_empty() {
                "this is not YAML".to_owned()
            } else {
                text.to_owned()
            })
        }
    }
}

/// What there is to say about a tab that indents a line.
pub(super) fn tab() -> Fault {
    Fault {
        code: "tab",
        ..Fault::new("a tab cannot indent a line").help("use spaces: two for each level")
    }
}

fn collections(kind: &ErrorKind) -> Option<Fault> {
    Some(match kind {
        ErrorKind::UnclosedFlowCollection { open } => Fault::new(format!("`{open}` is not closed"))
            .help(if *open == '[' { "close the list with `]`" } else { "close the map with `}`" }),
        ErrorKind::UnexpectedEofFlowSequence => Fault::new("a list in `[ ]` is not closed"),
        ErrorKind::UnexpectedEofFlowMapping | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            Fault::new("a map in `{ }` is not closed")
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            Fault::new(format!("`{close}` does not close the `{open}` before it"))
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            Fault::new("there is a closing bracket without an opening one").help(QUOTES)
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            Fault::new("`,` or `]` is expected here, in a list in `[ ]`")
                .help("put quotes around a text that contains `{`, `}`, `[`, `]` or `,`")
        }
        ErrorKind::ExpectedFlowMappingSeparator => {
            Fault::new("`,` or `}` is expected here, in a map in `{ }`")
                .help("put quotes around a text that contains `{`, `}`, `[`, `]` or `,`")
        }
        ErrorKind::InvalidColonPlacement | ErrorKind::FlowMappingValueAdjacentCollection => {
            Fault::new("a `:` is not possible here")
                .help("close the `[` or `{` before it, or put quotes around the text")
        }
        ErrorKind::BlockEntryInFlowCollection
        | ErrorKind::PlainScalarStartsWithDashFlowIndicator => {
            Fault::new("a `- ` item is not possible inside `[ ]` or `{ }`")
                .help("separate the items by `,`, or write the whole list with `- `")
        }
        ErrorKind::BlockSequenceEntryNotAllowed => {
            Fault::new("a `- ` item is not possible here").help("begin it on a line of its own")
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            Fault::new("a list item, beginning with `- `, is expected here")
                .help("check the indentation: the items of a list stand exactly below each other")
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            Fault::new("the indentation of this line fits nothing above it")
                .help("keys of one map stand exactly below each other")
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::MappingKeyNotAllowed => {
            Fault::new("a key is not possible here").help(
                "check the indentation of this line, and that a space follows the `:` of the line \
                 above; a text that contains `: ` needs quotes",
            )
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            Fault::new("a key needs a `: ` after it on the same line")
                .help("is the `:` or the space after it missing?")
        }
        _ => return None,
    })
}

fn scalars(kind: &ErrorKind) -> Option<Fault> {
    Some(match kind {
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            Fault { is_open_quote: true, ..Fault::new("a text in quotes is not closed") }
        }
        ErrorKind::InvalidQuotedScalarIndent | ErrorKind::InvalidFlowScalarIndent => {
            let message =
                "a text in quotes is not closed, or goes on in a line that is not indented";
            Fault { is_open_quote: true, ..Fault::new(message) }
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            Fault::new("something follows a text in quotes")
                .help("let the quotes enclose the whole text; within '…' a ' is written twice")
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            Fault::new("the text in double quotes has an unknown `\\` sequence")
                .help("write `\\\\` for a backslash, or use single quotes")
        }
        ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidLowSurrogateHexEscape
        | ErrorKind::InvalidLowSurrogate
        | ErrorKind::MissingLowSurrogate
        | ErrorKind::UnpairedLowSurrogate
        | ErrorKind::InvalidUnicodeEscape => Fault::new(
            "the text in double quotes has a `\\x` or `\\u` sequence that is no character",
        ),
        ErrorKind::UnexpectedCharacter { character: '`' } => {
            Fault::new("a text cannot begin with a backtick").help(QUOTES)
        }
        ErrorKind::UnexpectedCharacter { character } => {
            Fault::new(format!("a text cannot begin with `{character}`")).help(QUOTES)
        }
        ErrorKind::CommentInterceptedScalar => {
            Fault::new("a comment interrupts a text that goes on in the next line")
                .help("is the next line indented too far?")
        }
        ErrorKind::CommentNotSeparated => {
            Fault::new("a comment needs a space before its `#`").help(QUOTES)
        }
        ErrorKind::InvalidBlockScalarHeader | ErrorKind::ZeroBlockScalarIndent => {
            Fault::new("only `+`, `-` or a digit from 1 to 9 can follow `|` or `>`")
                .help("begin the text in the next line")
        }
        ErrorKind::InvalidBlockScalarIndent => {
            Fault::new("the lines of a `|` or `>` text are not indented alike")
        }
        ErrorKind::ExpectedNodeContent => Fault::new("a value is expected here"),
        _ => return None,
    })
}
