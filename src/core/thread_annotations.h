#pragma once

/// What Clang's thread-safety analysis reads (-Wthread-safety, an error in the asan build); nothing to other compilers.
/// An annotation says what a comment would: which lock a member needs, which a function expects, takes or gives back.
/// Source: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#if defined(__clang__)
#define COMMISSURE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define COMMISSURE_THREAD_ANNOTATION(x)
#endif

/// Of a class: a lock; or what holds one as long as it lives.
#define CAPABILITY(name) COMMISSURE_THREAD_ANNOTATION(capability(name))
#define SCOPED_CAPABILITY COMMISSURE_THREAD_ANNOTATION(scoped_lockable)

/// Of a member: read and written only under that lock. Abseil has a macro of the same name and meaning.
#ifndef GUARDED_BY
#define GUARDED_BY(lock) COMMISSURE_THREAD_ANNOTATION(guarded_by(lock))
#endif

/// Of a function: its caller holds the lock; it takes it; it gives it back. A lambda that runs under a lock, a
/// condition's for example, says so too: `[this]() REQUIRES(mutex_) { return ready_; }`.
#define REQUIRES(...) COMMISSURE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) COMMISSURE_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) COMMISSURE_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
