//! Hessian 2 written: value by value, in the shortest forms, as Java's writer has them.
//!
//! Who writes sees to it that lists have as many items as they say and that maps are ended: there is nothing here that could check it.

/// Bytes go in chunks of so many, as others write them.
const CHUNK: usize = 0x8000;

/// Writes the values of one body.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    classes: u32,
}

impl Writer {
    /// Behind what is there already.
    pub fn after(out: Vec<u8>) -> Self {
        Self { out, classes: 0 }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Nothing.
    pub fn null(&mut self) {
        self.out.push(b'N');
    }

    /// A truth.
    pub fn bool(&mut self, value: bool) {
        self.out.push(if value { b'T' } else { b'F' });
    }

    /// A number of 32 bits.
    pub fn int(&mut self, value: i32) {
        let [_, high, mid, low] = value.to_be_bytes();
        match value {
            -0x10..=0x2f => self.out.push(0x90_u8.wrapping_add(low)),
            -0x800..=0x7ff => self.put(&[0xc8_u8.wrapping_add(mid), low]),
            -0x40000..=0x3ffff => self.put(&[0xd4_u8.wrapping_add(high), mid, low]),
            _ => self.tagged(b'I', &value.to_be_bytes()),
        }
    }

    /// A number of 64 bits.
    pub fn long(&mut self, value: i64) {
        let [.., high, mid, low] = value.to_be_bytes();
        match value {
            -8..=15 => self.out.push(0xe0_u8.wrapping_add(low)),
            -0x800..=0x7ff => self.put(&[0xf8_u8.wrapping_add(mid), low]),
            -0x40000..=0x3ffff => self.put(&[0x3c_u8.wrapping_add(high), mid, low]),
            _ => match i32::try_from(value) {
                Ok(short) => self.tagged(b'Y', &short.to_be_bytes()),
                Err(_) => self.tagged(b'L', &value.to_be_bytes()),
            },
        }
    }

    /// A number with a fraction.
    pub fn double(&mut self, value: f64) {
        // Minus zero is none of the short forms.
        match value.to_bits() {
            0 => self.out.push(0x5b),
            bits if bits == 1.0_f64.to_bits() => self.out.push(0x5c),
            bits => self.tagged(b'D', &bits.to_be_bytes()),
        }
    }

    /// A moment: milliseconds since 1970.
    pub fn date(&mut self, millis: i64) {
        self.tagged(b'J', &millis.to_be_bytes());
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        super::write_text(text, &mut self.out);
    }

    /// Bytes.
    pub fn binary(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((chunk, more)) = rest.split_at_checked(CHUNK)
            && !more.is_empty()
        {
            self.tagged(b'A', &length(chunk.len()));
            self.put(chunk);
            rest = more;
        }
        let [high, low] = length(rest.len());
        match (high, low) {
            (0, 0..=15) => self.out.push(0x20 + low),
            (0..=3, _) => self.put(&[0x34 + high, low]),
            _ => self.tagged(b'B', &[high, low]),
        }
        self.put(rest);
    }

    /// A list of so many items, which follow; of a type, as `[string`, if it has one.
    pub fn list(&mut self, class: Option<&str>, len: usize) {
        let short = u8::try_from(len).ok().filter(|len| *len < 8);
        let (short_tag, long_tag) = match class {
            Some(_) => (0x70, b'V'),
            None => (0x78, b'X'),
        };
        self.out.push(short.map_or(long_tag, |len| short_tag + len));
        if let Some(class) = class {
            self.text(class);
        }
        if short.is_none() {
            self.int(i32::try_from(len).unwrap_or(i32::MAX));
        }
    }

    /// A map, whose pairs follow, up to [`Self::end_map`]; of a class, if it has one.
    pub fn map(&mut self, class: Option<&str>) {
        match class {
            None => self.out.push(b'H'),
            Some(class) => {
                self.out.push(b'M');
                self.text(class);
            }
        }
    }

    /// The end of a map.
    pub fn end_map(&mut self) {
        self.out.push(b'Z');
    }

    /// An object of a class with these fields, whose values follow.
    pub fn object(&mut self, class: &str, fields: &[&str]) {
        self.out.push(b'C');
        self.text(class);
        self.int(i32::try_from(fields.len()).unwrap_or(i32::MAX));
        for field in fields {
            self.text(field);
        }
        match u8::try_from(self.classes).ok().filter(|at| *at < 16) {
            Some(at) => self.out.push(0x60 + at),
            None => {
                self.out.push(b'O');
                self.int(i32::try_from(self.classes).unwrap_or(i32::MAX));
            }
        }
        self.classes += 1;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.put(bytes);
    }
}

/// Of a chunk, which is no longer than two bytes can say.
fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}
