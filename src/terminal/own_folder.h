#pragma once

#include <filesystem>

#include "core/result.h"

namespace commissure {

/// Whether what lies in `folder` can be trusted: no link, ours, and nobody else may write there. One that does not
/// exist is fine. Errors: kPermissionDenied, with what is wrong and what to do.
Status check_own_folder(const std::filesystem::path& folder);

/// Makes it for us alone, with what is missing above it, and checks it. Errors: as above, and as the system says.
Status make_own_folder(const std::filesystem::path& folder);

}  // namespace commissure
