// The configs of an archive that is to be written: what they may be, and edits of those that there are. Pure;
// any thread.
#pragma once

#include <string>
#include <vector>

#include "vma/format.hpp"

namespace vmad::repack {

/// True for what can name a file in a directory.
[[nodiscard]] bool is_file_name(const std::string& name);

/// Throws base::UsageError for names that two configs have or no file can have, and for more than an archive
/// holds.
void check_configs(const std::vector<vma::Config>& configs);

/// "the archive has no config x; it has a, b".
[[nodiscard]] std::string no_config(const std::vector<vma::Config>& configs, const std::string& name);

struct ConfigEdits {
    std::vector<vma::Config> set;     ///< each replaces the config of its name, or follows the others
    std::vector<std::string> remove;  ///< names
};

/// The configs with the edits made. Throws base::UsageError for a name to be removed that there is not, or
/// that is set too, as check_configs() does of those that are set, and for too many.
[[nodiscard]] std::vector<vma::Config> edited(std::vector<vma::Config> configs, const ConfigEdits& edits);

}  // namespace vmad::repack
