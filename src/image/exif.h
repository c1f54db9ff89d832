#pragma once

#include <cstddef>
#include <span>

namespace commissure {

/// The orientation that an EXIF block names, 1 to 8; 1 where it names none or is damaged.
///   block  a TIFF header ("II*\0" or "MM\0*") and what follows, "Exif\0\0" before it or not
/// Source: EXIF 2.32, section 4.6; TIFF 6.0, section 2.
int exif_orientation(std::span<const std::byte> block);

}  // namespace commissure
