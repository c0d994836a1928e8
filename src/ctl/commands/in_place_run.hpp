// vmactl repack --in-place: archives one after the other, each replaced by its canonical form.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "engine/repack.hpp"
#include "repack/in_place.hpp"

namespace vmad::ctl {

/// That of the daemon for root, who shares its locks; else $XDG_STATE_HOME/vmad or ~/.local/state/vmad.
/// Throws base::UsageError when there is no home.
[[nodiscard]] std::string default_state_directory();

/// Makes an absolute path's directories as far as they are missing, mode 0700, and opens the last one.
[[nodiscard]] io::File make_directories(io::FileSystem& fs, const std::string& path);

struct InPlaceRun {
    std::vector<std::string> paths;
    std::string state_directory;
    base::VerifySource verify_source = base::VerifySource::automatic;
    engine::RepackOptions repack;  ///< without a progress sink: each archive gets a bar of its own
    bool verbose = false;
    /// What is done to an archive with an absolute path; empty: repack::repack_in_place().
    std::function<repack::InPlaceResult(const std::string& path, const repack::InPlaceOptions&)> work{};
    const char* done_text = "done";
    const char* unchanged_text = "already canonical";  ///< for people, of an archive that is left as it is
    nlohmann::json details{};  ///< more to say of the archive that was worked on last, in JSON
};

/// Recovers first what earlier runs left behind, then reports on each archive and continues after failures.
/// Throws base::Cancelled, and base::Error when the records cannot be kept.
[[nodiscard]] ExitCode repack_in_place_all(Context& context, const InPlaceRun& run);

}  // namespace vmad::ctl
