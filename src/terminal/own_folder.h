#pragma once

#include <filesystem>

#include "core/result.h"

namespace commissure {

/// Checks that the files in `folder` can be trusted: the folder is no symbolic link, belongs to this user, and nobody
/// else may write there. A folder that does not exist passes. Errors: kPermissionDenied, with what is wrong and what to
/// do.
Status check_own_folder(const std::filesystem::path& folder);

/// Makes the folder (mode 0700) and the folders above it that are missing, then checks it. Errors: as check_own_folder;
/// as the system says.
Status make_own_folder(const std::filesystem::path& folder);

}  // namespace commissure
