//! The decoder: a state machine over lines and data.

use bytes::Bytes;
use ring::digest;

use super::{ChunkError, ChunkSigner, Framing};
use crate::checksum::{Algorithm, Checksum, Hasher};

/// S3's least size of every chunk but the last.
const MIN_CHUNK: u64 = 8_192;
/// The longest line of framing.
const MAX_LINE: usize = 4_096;
/// Trailers a body may have.
const MAX_TRAILERS: usize = 16;

/// What is known of a body before it comes.
#[derive(Debug)]
pub struct Setup {
    pub framing: Framing,
    /// The chain of signatures; `Some` for both signed framings.
    pub signer: Option<ChunkSigner>,
    /// `x-amz-decoded-content-length`.
    pub decoded_length: Option<u64>,
    /// The checksum that `x-amz-trailer` announces.
    pub trailer: Option<Algorithm>,
}

/// What followed the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailers {
    /// The announced checksum, which was right.
    pub checksum: Option<Checksum>,
    /// Bytes of data.
    pub decoded_length: u64,
}

/// Takes the framing off a body. See the module's header for what its output is worth before `finish`.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    signer: Option<ChunkSigner>,
    expected: Option<u64>,
    trailer: Option<Algorithm>,
    hasher: Option<Hasher>,
    state: State,
    line: Vec<u8>,
    decoded: u64,
    chunks: u64,
    last_size: Option<u64>,
    trailers: Vec<(String, String)>,
    blank_lines: usize,
    failed: Option<ChunkError>,
}

enum State {
    Header,
    Data {
        left: u64,
        signature: String,
        sha256: Option<Box<digest::Context>>,
    },
    /// The line end after a chunk's data.
    DataEnd,
    Trailer,
    Done,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Header => "Header",
            State::Data { .. } => "Data",
            State::DataEnd => "DataEnd",
            State::Trailer => "Trailer",
            State::Done => "Done",
        })
    }
}

impl Decoder {
    /// A signed framing without a signer is decoded as unsigned: for bodies whose signature nobody asked to verify.
    pub fn new(setup: Setup) -> Decoder {
        Decoder {
            framing: setup.framing,
            signer: setup.signer,
            expected: setup.decoded_length,
            trailer: setup.trailer,
            hasher: setup.trailer.map(Hasher::new),
            state: State::Header,
            line: Vec::new(),
            decoded: 0,
            chunks: 0,
            last_size: None,
            trailers: Vec::new(),
            blank_lines: 0,
            failed: None,
        }
    }

    /// Takes the next piece of the body; data is added to `out` as slices of it. After an error every call repeats it.
    pub fn push(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), ChunkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while !input.is_empty() {
            if let Err(error) = self.step(&mut input, out) {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// When it ended early, when announced trailers are missing, or when their signature or the checksum is wrong.
    pub fn finish(mut self) -> Result<Trailers, ChunkError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if matches!(self.state, State::Trailer) {
            // Some clients leave out the last line end.
            if !self.line.is_empty() {
                let line = std::mem::take(&mut self.line);
                self.trailer_line(&line)?;
            }
            self.check_complete()?;
            self.state = State::Done;
        }
        if !matches!(self.state, State::Done) {
            return Err(ChunkError::IncompleteBody);
        }
        self.verify_trailers()
    }

    fn step(&mut self, input: &mut Bytes, out: &mut Vec<Bytes>) -> Result<(), ChunkError> {
        if let State::Data { left, sha256, .. } = &mut self.state {
            let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            let piece = input.split_to(take);
            if let Some(context) = sha256 {
                context.update(&piece);
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            *left -= take as u64;
            self.decoded += take as u64;
            out.push(piece);
            if *left == 0 {
                self.end_chunk(State::DataEnd)?;
            }
            return Ok(());
        }
        let Some(line) = self.take_line(input)? else { return Ok(()) };
        match self.state {
            State::Header => self.chunk_header(&line),
            State::DataEnd if line == b"\r\n" => {
                self.state = State::Header;
                Ok(())
            }
            State::DataEnd => Err(ChunkError::IncompleteBody),
            State::Trailer => self.trailer_line(&line),
            State::Done | State::Data { .. } if line == b"\r\n" => Ok(()),
            State::Done | State::Data { .. } => Err(ChunkError::IncompleteBody),
        }
    }

    /// A whole line with its end, or `None` while it has not come.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<Vec<u8>>, ChunkError> {
        let limit = match self.state {
            State::DataEnd | State::Done => 2,
            _ => MAX_LINE,
        };
        let end = input.iter().position(|byte| *byte == b'\n');
        let take = end.map_or(input.len(), |end| end + 1);
        if self.line.len() + take > limit {
            return Err(ChunkError::IncompleteBody);
        }
        self.line.extend_from_slice(&input.split_to(take));
        Ok(end.map(|_| std::mem::take(&mut self.line)))
    }

    fn chunk_header(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let text = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
        let text = text.ok_or(ChunkError::IncompleteBody)?;
        let (size, extension) = text.split_once(';').unwrap_or((text, ""));
        let size = parse_size(size).ok_or(ChunkError::IncompleteBody)?;
        self.chunks += 1;
        match self.last_size {
            Some(last) if size > 0 && last < MIN_CHUNK => {
                return Err(ChunkError::InvalidChunkSize { chunk: self.chunks, size: last });
            }
            _ => self.last_size = Some(size),
        }
        if let Some(expected) = self.expected {
            let provided = self.decoded.saturating_add(size);
            if provided > expected || (size == 0 && provided != expected) {
                return Err(ChunkError::LengthMismatch { expected, provided });
            }
        }
        let signature = match &self.signer {
            Some(_) => extension
                .strip_prefix("chunk-signature=")
                .filter(|signature| !signature.is_empty() && !signature.contains(';'))
                .ok_or(ChunkError::IncompleteBody)?,
            None => "",
        };
        let sha256 = self.signer.is_some().then(|| Box::new(digest::Context::new(&digest::SHA256)));
        self.state = State::Data { left: size, signature: signature.to_owned(), sha256 };
        if size == 0 { self.end_chunk(State::Trailer) } else { Ok(()) }
    }

    fn end_chunk(&mut self, next: State) -> Result<(), ChunkError> {
        if let (State::Data { signature, sha256: Some(context), .. }, Some(signer)) =
            (std::mem::replace(&mut self.state, next), &mut self.signer)
        {
            let text = signer.chunk_text(&hex::encode(context.finish()));
            signer.check(text, &signature)?;
        }
        Ok(())
    }

    /// One trailer, or the empty line that ends them. Some clients also part the trailers from their signature by one.
    fn trailer_line(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let text = std::str::from_utf8(line).map_err(|_| ChunkError::MalformedTrailer)?.trim();
        if text.is_empty() {
            self.blank_lines += 1;
            if self.check_complete().is_ok() {
                self.state = State::Done;
            } else if self.blank_lines > 3 {
                return Err(ChunkError::MalformedTrailer);
            }
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or(ChunkError::MalformedTrailer)?;
        let name = name.trim().to_ascii_lowercase();
        let signature = name == "x-amz-trailer-signature" && self.framing == Framing::SignedTrailer;
        let announced = self.trailer.is_some_and(|algorithm| algorithm.header() == name);
        let repeated = self.trailers.iter().any(|(other, _)| *other == name);
        if !(signature || announced) || repeated || self.trailers.len() >= MAX_TRAILERS {
            return Err(ChunkError::MalformedTrailer);
        }
        self.trailers.push((name, value.trim().to_owned()));
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether all that was announced has come.
    fn check_complete(&self) -> Result<(), ChunkError> {
        if self.trailer.is_some_and(|algorithm| self.find(algorithm.header()).is_none()) {
            return Err(ChunkError::MalformedTrailer);
        }
        let signed =
            self.framing == Framing::SignedTrailer && self.signer.is_some() && self.trailer.is_some();
        if signed && self.find("x-amz-trailer-signature").is_none() {
            return Err(ChunkError::IncompleteBody);
        }
        Ok(())
    }

    fn verify_trailers(mut self) -> Result<Trailers, ChunkError> {
        let signature = self.find("x-amz-trailer-signature").map(str::to_owned);
        if let (Some(signature), Some(signer)) = (signature, &mut self.signer) {
            let canonical: String = self
                .trailers
                .iter()
                .filter(|(name, _)| name != "x-amz-trailer-signature")
                .map(|(name, value)| format!("{name}:{value}\n"))
                .collect();
            let text = signer.trailer_text(&canonical);
            signer.check(text, &signature)?;
        }
        let computed = self.hasher.take().map(Hasher::finish);
        if let Some(computed) = &computed {
            let algorithm = computed.algorithm;
            let declared = self.find(algorithm.header()).unwrap_or_default();
            let parsed =
                Checksum::parse(algorithm, declared).ok_or(ChunkError::InvalidChecksum { algorithm })?;
            if parsed != *computed {
                return Err(ChunkError::ChecksumMismatch {
                    algorithm,
                    declared: declared.to_owned(),
                    computed: computed.base64(),
                });
            }
        }
        Ok(Trailers { checksum: computed, decoded_length: self.decoded })
    }
}

/// Hexadecimal without sign or white space, at most 16 digits.
fn parse_size(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}
