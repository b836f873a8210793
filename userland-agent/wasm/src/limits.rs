//! What one module may be and use, whatever its grant. Bounds on what is outside the grant: the interpreter's own
//! memory for the module's code and calls.
//!
//! What a launch may ask for itself (memory, CPU time, image storage) is in its grant instead.

/// Bytes of an image.
pub const IMAGE_BYTES_MAX: usize = node_proto::limits::IMAGE_MAX as usize;
/// Bytes of one section other than data and custom ones, and of one function's code: what has to be in memory at once
/// of an image that is looked at while it comes.
pub const PIECE_MAX: usize = 16 << 10;
/// Functions that a module defines or imports.
pub const FUNCTIONS_MAX: u32 = 2_000;
/// Types that a module defines.
pub const TYPES_MAX: u32 = 500;
/// Parameters of one function, and results of one function.
pub const PARAMS_MAX: usize = 16;
/// Locals of one function, its parameters not among them.
pub const LOCALS_MAX: u32 = 500;
/// Global variables.
pub const GLOBALS_MAX: u32 = 200;
/// Segments of data or elements, each.
pub const SEGMENTS_MAX: u32 = 200;
/// Exports.
pub const EXPORTS_MAX: u32 = 200;
/// Elements of the one table that a module may have. To grow beyond is refused with -1, as WebAssembly has it.
pub const TABLE_ELEMENTS_MAX: usize = 4_096;
/// What an element of a table counts against the memory grant, bytes.
pub const TABLE_ELEMENT_BYTES: usize = 8;
/// Calls nested in each other. One more is a stack overflow.
pub const CALLS_MAX: usize = 128;
/// Values on the interpreter's stack, 8 bytes each: locals and operands of all nested calls. More are a stack
/// overflow. (What wasmi 1.1 calls bytes in its documentation are values in its code.)
pub const STACK_VALUES_MAX: usize = 2_048;
