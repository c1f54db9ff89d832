#pragma once

#include "core/result.h"
#include "kernels/backend.h"

namespace commissure {

/// Whether a tensor of the source's dtype can have its shape; the bytes are not looked at.
/// Errors: kUnimplemented, there are no kernels for the dtype (`has_kernels`); kInvalidArgument, it cannot.
Status check_shape(const MatrixSource& source, bool has_kernels);

/// Whether the source's stored bytes are such a tensor. Errors: as check_shape; kInvalidArgument, they are more or
/// fewer.
Status check_stored(const MatrixSource& source, bool has_kernels);

}  // namespace commissure
