//! What an image is made of and needs, read from its sections before anything is made of it.
//!
//! The node asks this before each start, and `micro check` before anybody launches anything: both get the same answer
//! in the same words. Reading takes one pass and keeps at most what [`crate::limits`] allow. Whether the code itself
//! is valid is [`validate`]'s to say.

use crate::abi::{self, Type};
use crate::engine::{Chosen, Engine, has_floats as engine_has_floats};
use crate::event::StartError;
use crate::limits::*;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use grants::Capabilities;
use wasmparser::{
    BinaryReader, BinaryReaderError, ExternalKind, FuncType, Parser, Payload, TableType, TypeRef, ValType,
};

/// What an image imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `module.name`.
    pub name: String,
    /// The host's function of this name; `None` if it has none, or if what is imported is no function.
    pub function: Option<&'static abi::Function>,
    /// True if it is imported with the type that it has.
    pub fits: bool,
}

/// A function that an image exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// True if it can be an entry or a check: it takes nothing and gives an i32.
    pub is_entry: bool,
}

/// The memory that an image defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes it begins with.
    pub min_bytes: u64,
    /// Bytes it sets itself as its limit.
    pub max_bytes: Option<u64>,
    /// Bytes it grows by: 65,536 unless the image says otherwise.
    pub page_bytes: u64,
}

/// What an image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its size, bytes.
    pub bytes: usize,
    /// What it imports.
    pub imports: Vec<Import>,
    /// The functions that it exports.
    pub exports: Vec<Export>,
    /// True if it exports its memory as the host expects it.
    pub exports_memory: bool,
    /// Functions that it defines.
    pub functions: u32,
    /// Locals of the function with the most.
    pub locals: u32,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Elements that its table begins with.
    pub table_elements: u64,
    /// True if it has a function that runs before the entry.
    pub has_start: bool,
}

impl Image {
    /// What its imports need, as a bit set of [`Capabilities`].
    pub fn capabilities(&self) -> u16 {
        let known = self.imports.iter().filter_map(|import| import.function);
        known.fold(0, |set, function| set | function.capability)
    }

    /// What it has to be granted to start, bytes: memory and table. It may want more later.
    pub fn mem_bytes(&self) -> u64 {
        let table = self.table_elements.saturating_mul(TABLE_ELEMENT_BYTES as u64);
        self.memory.map_or(0, |memory| memory.min_bytes).saturating_add(table)
    }

    /// True if its memory's pages are not of the usual size.
    pub fn has_custom_pages(&self) -> bool {
        self.memory.is_some_and(|memory| memory.page_bytes != 65_536)
    }

    /// Whether it can be started with this entry, empty for the usual one, and this check, under these capabilities
    /// and with so much memory in bytes.
    pub fn admit(
        &self,
        entry: &str,
        check: Option<&str>,
        granted: Capabilities,
        mem_bytes: u32,
    ) -> Result<(), StartError> {
        for import in &self.imports {
            let Some(function) = import.function else {
                return Err(StartError::UnknownImport(import.name.clone()));
            };
            if !import.fits {
                return Err(StartError::WrongImport(import.name.clone()));
            }
            if !granted.has(function.capability) {
                return Err(StartError::NotGranted(import.name.clone()));
            }
        }
        let entry = if entry.is_empty() { abi::ENTRY } else { entry };
        for name in core::iter::once(entry).chain(check) {
            match self.exports.iter().find(|export| export.name == name) {
                None => return Err(StartError::NoEntry(name.into())),
                Some(export) if !export.is_entry => return Err(StartError::WrongEntry(name.into())),
                Some(_) => {}
            }
        }
        if self.mem_bytes() > mem_bytes.into() {
            let asked = usize::try_from(self.mem_bytes()).unwrap_or(usize::MAX);
            return Err(StartError::Memory { asked, granted: mem_bytes });
        }
        Ok(())
    }
}

/// Reads what an image is made of. The code of its functions is not looked at.
pub fn inspect(image: &[u8]) -> Result<Image, StartError> {
    limit("bytes", image.len() as u64, IMAGE_BYTES_MAX as u64)?;
    let mut reading =
        Reading { image, of: Image { bytes: image.len(), ..Image::default() }, ..Default::default() };
    for payload in Parser::new(0).parse_all(image) {
        reading.section(payload.map_err(|error| invalid(image, &error))?, (image, 0))?;
    }
    Ok(reading.of)
}

/// Whether the whole image is valid, its code included, as the executor has to know before it runs it.
pub fn validate(image: &[u8]) -> Result<(), StartError> {
    Chosen::validate(image)
}

/// True for a valid image that counts with floats: a node without a unit for them does that in software.
pub fn has_floats(image: &[u8]) -> bool {
    engine_has_floats(image)
}

/// The error of a fault at a known place.
pub(crate) fn invalid(image: &[u8], error: &BinaryReaderError) -> StartError {
    let section = section_at(image, error.offset());
    StartError::Invalid { section, offset: Some(error.offset()), why: error.message().to_string() }
}

/// The name of the section that a byte is in, as far as the sections before it can be read.
pub(crate) fn section_at(image: &[u8], offset: usize) -> Option<&'static str> {
    const NAMES: [&str; 13] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
    ];
    let payloads = Parser::new(0).parse_all(image).map_while(Result::ok);
    let mut sections = payloads.filter_map(|payload| payload.as_section());
    let (id, _) = sections.find(|(_, range)| range.contains(&offset) || range.end == offset)?;
    NAMES.get(usize::from(id)).copied()
}

pub(crate) fn limit(what: &'static str, has: u64, max: u64) -> Result<(), StartError> {
    if has > max { Err(StartError::Limit { what, has, max }) } else { Ok(()) }
}

/// What has to be remembered from one section for another.
#[derive(Default)]
pub(crate) struct Reading<'a> {
    image: &'a [u8],
    types: Vec<FuncType>,
    /// The type of each function, the imported ones first.
    functions: Vec<u32>,
    pub of: Image,
}

impl Reading<'_> {
    /// Takes what a section says; `bytes` hold it, and begin so far into the image.
    pub fn section(&mut self, payload: Payload<'_>, bytes: (&[u8], usize)) -> Result<(), StartError> {
        let image = self.image;
        let bad = |error: BinaryReaderError| invalid(image, &error);
        let count = |what, has: u32, max: u32| limit(what, has.into(), max.into());
        match payload {
            Payload::TypeSection(section) => {
                count("types", section.count(), TYPES_MAX)?;
                for kind in section.into_iter_err_on_gc_types() {
                    let kind = kind.map_err(bad)?;
                    limit("parameters", kind.params().len() as u64, PARAMS_MAX as u64)?;
                    limit("results", kind.results().len() as u64, PARAMS_MAX as u64)?;
                    self.types.push(kind);
                }
            }
            Payload::ImportSection(section) => {
                count("imports", section.count(), FUNCTIONS_MAX)?;
                for import in section {
                    let import = import.map_err(bad)?;
                    self.import(import.module, import.name, import.ty);
                }
            }
            Payload::FunctionSection(section) => {
                count("functions", section.count(), FUNCTIONS_MAX)?;
                self.of.functions = section.count();
                for kind in section {
                    self.functions.push(kind.map_err(bad)?);
                }
            }
            Payload::TableSection(section) => {
                count("tables", section.count(), 1)?;
                if section.count() == 1 {
                    self.of.table_elements = table(bytes, section.range()).map_err(bad)?.initial;
                    limit("table elements", self.of.table_elements, TABLE_ELEMENTS_MAX as u64)?;
                }
            }
            Payload::MemorySection(section) => {
                count("memories", section.count(), 1)?;
                for memory in section {
                    self.memory(memory.map_err(bad)?);
                }
            }
            Payload::GlobalSection(section) => count("globals", section.count(), GLOBALS_MAX)?,
            Payload::ExportSection(section) => {
                count("exports", section.count(), EXPORTS_MAX)?;
                for export in section {
                    let export = export.map_err(bad)?;
                    self.export(export.name, export.kind, export.index);
                }
            }
            Payload::StartSection { .. } => self.of.has_start = true,
            Payload::ElementSection(section) => count("element segments", section.count(), SEGMENTS_MAX)?,
            Payload::DataSection(section) => count("data segments", section.count(), SEGMENTS_MAX)?,
            Payload::CodeSectionEntry(body) => {
                let mut locals = 0u32;
                for group in body.get_locals_reader().map_err(bad)? {
                    locals = locals.saturating_add(group.map_err(bad)?.0);
                }
                count("locals in a function", locals, LOCALS_MAX)?;
                self.of.locals = self.of.locals.max(locals);
            }
            // The rest is the engine's to judge.
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, kind: TypeRef) {
        let (mut function, mut fits) = (None, false);
        if let TypeRef::Func(kind) = kind {
            self.functions.push(kind);
            function = abi::find(name).filter(|_| module == abi::MODULE);
            fits = function.is_some_and(|function| {
                let same = |ours: &[Type], its: &[ValType]| ours.iter().map(value).eq(its.iter().copied());
                let kind = self.types.get(kind as usize);
                kind.is_some_and(|kind| {
                    same(function.params, kind.params()) && same(function.results, kind.results())
                })
            });
        }
        self.of.imports.push(Import { name: format!("{module}.{name}"), function, fits });
    }

    fn export(&mut self, name: &str, kind: ExternalKind, index: u32) {
        match kind {
            ExternalKind::Func => {
                let kind = self.functions.get(index as usize).and_then(|kind| self.types.get(*kind as usize));
                let is_entry =
                    kind.is_some_and(|kind| kind.params().is_empty() && kind.results() == [ValType::I32]);
                self.of.exports.push(Export { name: name.into(), is_entry });
            }
            ExternalKind::Memory => self.of.exports_memory |= name == abi::MEMORY,
            _ => {}
        }
    }

    fn memory(&mut self, memory: wasmparser::MemoryType) {
        // A page size that is not one is the engine's to refuse; here it must only not overflow.
        let page_bytes = 1u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
        self.of.memory = Some(Memory {
            min_bytes: memory.initial.saturating_mul(page_bytes),
            max_bytes: memory.maximum.map(|maximum| maximum.saturating_mul(page_bytes)),
            page_bytes,
        });
    }
}

/// The type of the only table of a section. The section's own iterator would read the expression that a table of a later
/// WebAssembly begins with too, and takes 12 KB of flash for that.
fn table((bytes, at): (&[u8], usize), section: Range<usize>) -> Result<TableType, BinaryReaderError> {
    let body = section.start.saturating_sub(at)..section.end.saturating_sub(at);
    let mut reader = BinaryReader::new(bytes.get(body).unwrap_or_default(), section.start);
    reader.read_var_u32()?; // how many there are
    let mut ahead = reader.clone();
    if ahead.read_u8()? == 0x40 {
        ahead.read_u8()?;
        reader = ahead;
    }
    reader.read()
}

fn value(kind: &Type) -> ValType {
    match kind {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
    }
}
