#include "publish/settlement.hpp"

#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::publish {
namespace {

using Phase = Publication::Phase;

/// Four steps settle the longest case; more only happen when somebody else moves the same files.
constexpr int kMaxRounds = 16;

void sync_directory(io::FileSystem& fs, const io::File& directory) {
    try {
        fs.sync(directory);
    } catch (const base::SystemError& error) {
        // Some network and FUSE file systems know no fsync of a directory; they have nothing to write out.
        if (error.number() != EINVAL) throw;
    }
}

class Settler {
  public:
    Settler(io::FileSystem& fs, const io::File& directory, const Publication& record)
        : fs_(fs), directory_(directory), record_(record) {}

    [[nodiscard]] Scene scene() const {
        const auto name = see(record_.name);
        const auto sight_beside = [&](const std::string& other) {
            const auto found = see(other);
            return name && found && name->st_ino == found->st_ino ? Sight::second_name : sight(found, other);
        };
        return {sight(name, record_.name), sight_beside(record_.temporary), sight_beside(record_.old)};
    }

    void act(Step step) const {
        switch (step) {
            case Step::rest:
                return;
            case Step::exchange_back:
                if (!fs_.exchange(directory_, record_.temporary, record_.name)) refuse_stranded();
                return;
            case Step::put_back_temporary:
                return fs_.rename(directory_, record_.temporary, record_.name);
            case Step::put_back_old:
                return fs_.rename(directory_, record_.old, record_.name);
            case Step::remove_temporary:
                fs_.unlink(directory_, record_.temporary);
                return;
            case Step::remove_old:
                fs_.unlink(directory_, record_.old);
                return;
        }
    }

    [[noreturn]] void refuse_stranded() const {
        throw base::Error(fmt::format(
            "{} or {} beside it is a file that was not made here: see whether it belongs at {}, and "
            "move or remove it",
            directory_.entry(record_.temporary), record_.old, record_.name));
    }

    [[noreturn]] void refuse_restless() const {
        throw base::Error(fmt::format("{} is being moved again and again by somebody else",
                                      directory_.entry(record_.name)));
    }

  private:
    /// What may be one of the two files is looked at closely.
    [[nodiscard]] std::optional<struct stat> see(const std::string& name) const {
        const auto listed = fs_.status_at(directory_, name);
        const bool is_known = listed && (listed->st_ino == record_.original.mark.inode ||
                                         listed->st_ino == record_.replacement.inode);
        return is_known ? look(fs_, directory_, name) : listed;
    }

    [[nodiscard]] Sight sight(const std::optional<struct stat>& found, const std::string& name) const {
        if (!found) return Sight::nothing;
        if (!S_ISREG(found->st_mode)) return Sight::foreign;
        const auto mark = mark_of(*found);
        if (mark == record_.original.mark) return Sight::original;
        return is_ours(mark, name) ? Sight::ours : Sight::foreign;
    }

    [[nodiscard]] bool is_ours(const FileMark& mark, const std::string& name) const {
        if (record_.phase != Phase::preparing) return mark == record_.replacement;
        // Still being written, so its size says nothing; and nobody has put it anywhere else yet.
        if (name != record_.temporary) return false;
        if (record_.replacement.inode != 0) return mark.inode == record_.replacement.inode;
        // Made, but the crash came before its inode was recorded: then it is empty.
        return mark.size_bytes == 0;
    }

    io::FileSystem& fs_;
    const io::File& directory_;
    const Publication& record_;
};

/// The original, or nothing, is at both names beside our replacement.
bool may_linger(const Scene& scene) {
    const auto may_stay = [](Sight sight) { return sight == Sight::nothing || sight == Sight::original; };
    return scene.name == Sight::ours && may_stay(scene.temporary) && may_stay(scene.old);
}

bool is_alone(const Scene& scene) { return scene.temporary == Sight::nothing && scene.old == Sight::nothing; }

Settlement settlement_of(const Scene& scene) {
    switch (scene.name) {
        case Sight::ours:
            return is_alone(scene) ? Settlement::published : Settlement::lingering;
        case Sight::original:
            return Settlement::not_published;
        case Sight::nothing:
            return Settlement::vanished;
        default:
            return Settlement::changed;
    }
}

// The swap has been durable for long, and whatever the name holds by now, somebody meant it so: nothing comes
// back. Only the original goes; even a file of ours could be there only because somebody has put it there.
Step decide_lingering(const Scene& scene) {
    const auto may_go = [](Sight sight) { return sight == Sight::original || sight == Sight::second_name; };
    if (may_go(scene.temporary)) return Step::remove_temporary;
    if (may_go(scene.old)) return Step::remove_old;
    return Step::rest;
}

}  // namespace

// The rules, in order; the first that fits is taken. A foreign file is never removed.
Step decide(const Scene& scene, Phase phase, Goal goal) noexcept {
    if (phase == Phase::lingering) return decide_lingering(scene);
    const auto& [name, temporary, old] = scene;
    const auto is_known = [](Sight sight) { return sight == Sight::ours || sight == Sight::original; };

    // One of two names of a file can go: the file stays.
    if (temporary == Sight::second_name) return Step::remove_temporary;
    if (old == Sight::second_name) return Step::remove_old;

    if (name == Sight::ours) {
        // The swap took somebody else's file, put there in the last moment: it goes back.
        if (temporary == Sight::foreign) return Step::exchange_back;
        if (old == Sight::foreign) return Step::put_back_old;
        // The swap went well. Here, and in decide_lingering(), the original is removed from beside a good
        // copy.
        const bool keep = goal == Goal::keep_original;
        const bool give_back = goal == Goal::give_back;
        if (temporary == Sight::original)
            return keep ? Step::rest : give_back ? Step::exchange_back : Step::remove_temporary;
        if (old == Sight::original)
            return keep ? Step::rest : give_back ? Step::put_back_old : Step::remove_old;
    }

    if (name == Sight::nothing && phase != Phase::preparing) {
        // Somebody else's file was swapped out, and our copy removed in its place: it was not meant.
        if (temporary == Sight::foreign) return Step::put_back_temporary;
        if (old == Sight::foreign) return Step::put_back_old;
        // NFS and CIFS may remove the target of a rename before they move the source. When that stopped half
        // way, nobody pruned the archive. (Once the rename is done, the temporary name is gone.)
        if (phase == Phase::renaming && temporary == Sight::ours)
            return old == Sight::original ? Step::put_back_old : Step::put_back_temporary;
    }

    // What is left: the original at its name, a foreign file at it, or nothing, because it was pruned. What
    // was ours or the original beside it is not needed any more.
    if (is_known(temporary)) return Step::remove_temporary;
    if (is_known(old)) return Step::remove_old;
    return Step::rest;
}

std::optional<struct stat> look(io::FileSystem& fs, const io::File& directory, const std::string& name) {
    const auto found = fs.status_at(directory, name);
    if (!found || !S_ISREG(found->st_mode)) return found;
    try {
        const auto file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        return fs.status(file);
    } catch (const base::SystemError& error) {
        // Removed in between; unless it is still listed: after a rename that failed half way on CIFS, a file
        // may be about to disappear and cannot be opened any more. Nothing is decided by such a sight; it is
        // an error of the moment, unlike a file that is not there.
        if (error.number() != ENOENT) throw;
        if (!fs.status_at(directory, name)) return std::nullopt;
        throw base::SystemError(EBUSY, "open", directory.entry(name));
    }
}

Settlement settle(io::FileSystem& fs, const io::File& directory, const Publication& record, Goal goal) {
    const Settler settler(fs, directory, record);
    for (int round = 0; round < kMaxRounds; ++round) {
        // Before the look: nothing is removed because of a name that a power cut could still take back.
        sync_directory(fs, directory);
        const auto scene = settler.scene();
        const auto step = decide(scene, record.phase, goal);
        if (step == Step::rest) {
            const bool may_rest = is_alone(scene) || (goal == Goal::keep_original && may_linger(scene));
            if (!may_rest) settler.refuse_stranded();
            return settlement_of(scene);
        }
        settler.act(step);
    }
    settler.refuse_restless();
}

}  // namespace vmad::publish
