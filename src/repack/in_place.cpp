#include "repack/in_place.hpp"

#include <ctime>

#include "io/inode_lock.hpp"
#include "io/network_file_system.hpp"
#include "repack/canonical_check.hpp"
#include "repack/ordered_writer.hpp"
#include "repack/published_digest.hpp"

namespace vmad::repack {
namespace {

InPlaceOutcome outcome_of(io::Settlement settlement) {
    switch (settlement) {
        case io::Settlement::published:
            return InPlaceOutcome::done;
        case io::Settlement::lingering:
            return InPlaceOutcome::lingering;
        case io::Settlement::vanished:
            return InPlaceOutcome::vanished;
        case io::Settlement::changed:
        case io::Settlement::not_published:
            return InPlaceOutcome::changed;
    }
    return InPlaceOutcome::changed;
}

}  // namespace

InPlaceResult repack_in_place(io::FileSystem& fs, const std::string& path, const InPlaceOptions& options) {
    const auto& task = options.repack.task;
    auto opened = io::open_target(fs, io::open_entry(fs, path, options.directories), options.announced,
                                  std::time(nullptr));
    if (std::holds_alternative<io::Vanished>(opened)) return {InPlaceOutcome::vanished};
    if (const auto* young = std::get_if<io::TooYoung>(&opened)) {
        InPlaceResult result{InPlaceOutcome::too_young};
        result.ready_in_seconds = young->ready_in_seconds;
        return result;
    }
    auto& target = std::get<io::ArchiveTarget>(opened);
    const auto lock = io::InodeLock::take(fs, options.lock_directory, target.identity);
    if (!lock) return {InPlaceOutcome::busy};

    const auto identity = target.identity;
    const auto size = identity.mark.size_bytes;
    if (canonical_by_headers(fs, target.file, task.cancel_flag()) == Canonical::yes)
        return {InPlaceOutcome::unchanged, size, size};
    const auto goal = options.linger && io::is_on_network(fs, target.directory) ? io::Goal::keep_original
                                                                                : io::Goal::finish;
    io::ReplaceFile replacement(fs, std::move(target), options.journal, options.reserve_bytes);
    replacement.require_space(size);
    RepackResult result;
    std::string notice;
    try {
        auto source = codec::ArchiveSource::of_file(fs, replacement.original(), options.source_cache,
                                                    {task.threads, task.cancel});
        OrderedWriter writer(fs, replacement.temporary(),
                             [&](std::uint64_t bytes) { replacement.require_space(bytes); });
        auto repack_options = options.repack;
        repack_options.kind = source.kind();
        repack_options.spill.beside = &replacement.directory();
        repack_options.spill.reserve_beside = options.reserve_bytes;
        result = repack(fs, source, writer, repack_options);
        notice = source.notice();
        replacement.seal(published_digest_attribute(result.fingerprint.digest, result.result_bytes,
                                                    replacement.modified_when_sealed()));
        prove(fs, replacement.temporary(), repack_options.kind, result.fingerprint, task);
    } catch (const base::Error&) {
        // What somebody writes to meanwhile is not damaged.
        if (io::identity_of(fs.status(replacement.original())) != identity) return {InPlaceOutcome::changed};
        throw;
    }
    return {outcome_of(replacement.publish(goal)),
            size,
            result.result_bytes,
            result.reread_bytes,
            result.spilled_bytes,
            std::move(notice)};
}

std::optional<io::Settlement> settle_in_place(io::FileSystem& fs, const std::string& path,
                                              const InPlaceOptions& options, const io::Publication& record) {
    const auto entry = io::open_entry(fs, path, options.directories);
    const auto lock = io::InodeLock::take(fs, options.lock_directory, record.original);
    if (!lock) return std::nullopt;
    return io::settle(fs, entry.directory, record);
}

}  // namespace vmad::repack
