//! Loaded into a machine's programs before the C library (`LD_PRELOAD`): their clock
//! of the day is behind by what a file says, which is looked at on every call. Clocks
//! that only measure time go right, as they do in a machine that was resumed.
//!
//! It allocates nothing, takes no lock and makes system calls only, so it may be
//! called from anywhere. Built by `build.rs`, without the standard library.

#![no_std]

use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr;
use core::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

/// Names the file: eight bytes in this computer's order, the nanoseconds.
const FILE: &core::ffi::CStr = c"FLY_EMULATOR_CLOCK";
const SECOND: i64 = 1_000_000_000;

const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const CLOCK_TAI: c_int = 11;
const O_CLOEXEC: c_int = 0o2_000_000;
const PROT_READ: c_int = 1;
const MAP_SHARED: c_int = 1;
#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanos: i64,
}

#[repr(C)]
pub struct Timeval {
    seconds: i64,
    micros: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(file: c_int) -> c_int;
    fn mmap(at: *mut c_void, len: usize, prot: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
}

/// What the file's place is while nobody has looked.
static BEHIND: AtomicPtr<AtomicI64> = AtomicPtr::new(ptr::null_mut());
/// What is read where there is no file.
static NOT_BEHIND: AtomicI64 = AtomicI64::new(0);

fn behind() -> i64 {
    let mut place = BEHIND.load(Ordering::Acquire);
    if place.is_null() {
        // Two threads that come here at once map it twice, which is as good.
        place = map().unwrap_or(ptr::from_ref(&NOT_BEHIND).cast_mut());
        BEHIND.store(place, Ordering::Release);
    }
    // SAFETY: it points at the static above, or at a mapping of a whole page that is never undone.
    unsafe { (*place).load(Ordering::Relaxed) }
}

fn map() -> Option<*mut AtomicI64> {
    // SAFETY: the calls get texts that end in NUL, and a mapping of an open file that changes nothing of ours.
    let place = unsafe {
        let path = getenv(FILE.as_ptr());
        if path.is_null() {
            return None;
        }
        let file = open(path, O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let place = mmap(ptr::null_mut(), size_of::<AtomicI64>(), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        place
    };
    (place.addr() != usize::MAX).then_some(place.cast())
}

/// The C library's, but for the clock of the day.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    // SAFETY: the kernel checks the pointer.
    let result = unsafe { syscall(SYS_CLOCK_GETTIME, c_long::from(clock), time) };
    if result != 0 || !matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_TAI) {
        return if result == 0 { 0 } else { -1 };
    }
    // SAFETY: the kernel has just written there.
    let time = unsafe { &mut *time };
    let behind = behind();
    time.seconds -= behind / SECOND;
    time.nanos -= behind % SECOND;
    if time.nanos < 0 {
        time.seconds -= 1;
        time.nanos += SECOND;
    }
    0
}

/// The C library's; the time zone has been obsolete for long and is left alone.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Timeval, _zone: *mut c_void) -> c_int {
    let mut now = Timespec { seconds: 0, nanos: 0 };
    // SAFETY: `now` is ours, and `time` is the caller's, who may leave it out.
    unsafe {
        clock_gettime(CLOCK_REALTIME, &raw mut now);
        if !time.is_null() {
            *time = Timeval { seconds: now.seconds, micros: now.nanos / 1_000 };
        }
    }
    0
}

/// The C library's.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(seconds: *mut i64) -> i64 {
    let mut now = Timespec { seconds: 0, nanos: 0 };
    // SAFETY: as above.
    unsafe {
        clock_gettime(CLOCK_REALTIME, &raw mut now);
        if !seconds.is_null() {
            *seconds = now.seconds;
        }
    }
    now.seconds
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
