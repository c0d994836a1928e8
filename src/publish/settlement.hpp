// How a replacement ends: look at the names in the directory, decide, act, until nothing is left to do.
//
// The same few rules serve a publication that went well, one that met an error, and one that a crash or a
// power cut stopped anywhere. They go by what the directory holds, never by what a call returned. Whoever
// calls holds the archive's InodeLock.
#pragma once

#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "publish/publication.hpp"

namespace vmad::publish {

/// What the archive's name holds at the end. Nothing of ours is left beside it, but for `lingering`.
enum class Settlement {
    published,      ///< our replacement
    lingering,      ///< our replacement, and the original is still beside it; for Goal::keep_original only
    not_published,  ///< the original, as it was
    changed,        ///< something else: written to, or replaced, by somebody else
    vanished,       ///< nothing: it was removed, and stays so
};

/// What one of the three names holds.
enum class Sight {
    nothing,
    ours,
    original,
    foreign,      ///< neither, or one of them but written to since
    second_name,  ///< of temporary and old only: the very file that the archive's name holds
};

struct Scene {
    Sight name = Sight::nothing;
    Sight temporary = Sight::nothing;
    Sight old = Sight::nothing;
};

/// What becomes of a replacement that is in place. In the phase `lingering` it does not matter.
enum class Goal {
    finish,         ///< it stays
    keep_original,  ///< it stays, and so does the original by the name of ours that it has, if it has one
    give_back,      ///< the original comes back, if it is still there
};

enum class Step {
    rest,                ///< nothing is left to do
    exchange_back,       ///< archive and temporary name
    put_back_temporary,  ///< rename it to the archive's name
    put_back_old,        ///< rename it to the archive's name
    remove_temporary,
    remove_old,
};

/// The next step. The rules are where it is defined.
[[nodiscard]] Step decide(const Scene& scene, Publication::Phase phase, Goal goal) noexcept;

/// The file at a name now, opened without following links, because a network file system may answer a plain
/// stat from a cache. What is not a regular file is not opened. Nothing when there is none; throws when it is
/// listed but cannot be opened.
[[nodiscard]] std::optional<struct stat> look(io::FileSystem& fs, const io::File& directory,
                                              const std::string& name);

/// Ends what `record` says; `directory` is the archive's. When it returns, the names are durable. It may fail
/// or be killed at any point and be called again, any number of times. Throws base::Error when a call fails,
/// or when a file that is not ours was caught under one of our names and cannot be put back: it is left
/// alone.
[[nodiscard]] Settlement settle(io::FileSystem& fs, const io::File& directory, const Publication& record,
                                Goal goal = Goal::finish);

}  // namespace vmad::publish
