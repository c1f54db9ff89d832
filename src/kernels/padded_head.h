#pragma once

/// This header meets compilers with wider instruction sets: no std classes.
namespace commissure {

/// Values that a head's key or value takes in the KV cache: whole vectors of 16. What is beyond head_dim is 0.
inline constexpr int padded_head_dim(int head_dim) { return (head_dim + 15) / 16 * 16; }

}  // namespace commissure
