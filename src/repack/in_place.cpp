#include "repack/in_place.hpp"

#include <fcntl.h>

#include <ctime>

#include "access/extent_pump.hpp"
#include "base/text.hpp"
#include "engine/ordered_writer.hpp"
#include "io/storage.hpp"
#include "publish/archive_writer.hpp"
#include "publish/inode_lock.hpp"
#include "repack/config_exchange.hpp"
#include "verify/canonical_check.hpp"
#include "verify/published_digest.hpp"
#include "verify/source_check.hpp"

namespace vmad::repack {
namespace {

InPlaceOutcome outcome_of(publish::PublishOutcome outcome) {
    switch (outcome) {
        case publish::PublishOutcome::published:
            return InPlaceOutcome::done;
        case publish::PublishOutcome::grace_period:
            return InPlaceOutcome::in_grace_period;
        case publish::PublishOutcome::vanished:
            return InPlaceOutcome::vanished;
        case publish::PublishOutcome::changed:
            return InPlaceOutcome::changed;
        case publish::PublishOutcome::open_for_writing:
            return InPlaceOutcome::open_for_writing;
    }
    __builtin_unreachable();
}

InPlaceOutcome outcome_of(publish::RecoveryOutcome outcome) {
    switch (outcome) {
        case publish::RecoveryOutcome::published:
            return InPlaceOutcome::done;
        case publish::RecoveryOutcome::not_published:
            return InPlaceOutcome::unchanged;
        case publish::RecoveryOutcome::changed:
            return InPlaceOutcome::changed;
        case publish::RecoveryOutcome::vanished:
            return InPlaceOutcome::vanished;
    }
    __builtin_unreachable();
}

/// The open file is as it was when it had this identity: its number does not matter for that.
bool is_unchanged(io::FileSystem& fs, const io::File& file, publish::FileIdentity identity) {
    const auto now = publish::identity_of(fs.status(file));
    identity.mark.inode = now.mark.inode;
    return now == identity;
}

/// What others who work on the archive lock. Where its number does not last, that is the one it has now.
publish::FileIdentity identity_for_lock(io::FileSystem& fs, const io::File& directory,
                                        const publish::RecoveryRecord& record) {
    if (record.marked_by() == publish::MarkBy::inode) return record.original;
    const auto archive = fs.status_at(directory, record.name);
    return publish::identity_of(archive ? *archive : fs.status(directory));
}

/// Nothing when it cannot be told.
std::optional<std::uint64_t> free_space(io::FileSystem& fs, const std::string& directory) try {
    return io::free_bytes(fs, fs.open(directory, O_RDONLY | O_DIRECTORY));
} catch (const base::Error&) {
    return std::nullopt;
}

std::vector<vma::Config> configs_of(io::FileSystem& fs, const io::File& file,
                                    const base::CancelFlag* cancel) {
    auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {1, cancel});
    base::BufferPool buffers(0, 0, 0);
    return vma::ArchiveReader(source, buffers).header().configs;
}

/// Of an archive that is left as it is. What cannot be read is of no importance then.
void report_configs(io::FileSystem& fs, const io::File& file, const engine::RepackOptions& options) {
    if (!options.configs_read) return;
    try {
        options.configs_read(configs_of(fs, file, options.task.cancel));
    } catch (const base::Error&) {
    }
}

/// False when the configs are already what they are to be.
bool edits_configs(io::FileSystem& fs, const io::File& file, const engine::RepackOptions& options) {
    if (!options.edit_configs) return false;
    const auto configs = configs_of(fs, file, options.task.cancel);
    return options.edit_configs(configs) != configs;
}

/// The copy gets a digest of its own. It would fit what went bad in the source since that was published, and
/// nothing would tell any more: so that is an error.
engine::RepackResult write_copy(io::FileSystem& fs, const io::File& original, engine::OrderedWriter& writer,
                                engine::RepackOptions repack, const InPlaceOptions& options,
                                std::optional<verify::SourceCheck>& check, std::string& warning) {
    const auto published = verify::published_digest(fs, original);
    auto when = options.verify_source;
    // That digest has come out of the first reading.
    if (published && when == base::VerifySource::automatic) when = base::VerifySource::off;
    check.emplace(fs, original, when, repack.task);
    std::vector<vma::Config> configs;
    repack.configs_read = [&, told = std::move(repack.configs_read)](const auto& read) {
        configs = read;
        if (told) told(read);
    };
    auto result = exchange_configs(fs, original, repack.format, writer, repack, &*check);
    if (!result) {
        auto source = codec::ArchiveSource::of_file(fs, original, options.source_cache,
                                                    {repack.task.threads, repack.task.cancel, check->sums()});
        repack.configs_read = [&, told = std::move(repack.configs_read)](const auto& read) {
            check->look_at(source);
            told(read);
        };
        result = engine::repack(fs, source, writer, repack);
        check->look_at(source);
        warning = source.warning();
    }
    const auto& devices = result->fingerprint.devices;
    if (published) published->require(canon::content_digest(devices, configs), devices);
    return *std::move(result);
}

}  // namespace

InPlaceResult replace_in_place(
    io::FileSystem& fs, const std::string& path, const InPlaceOptions& options,
    const std::function<std::optional<Replacement>(const io::File& original)>& make) {
    auto opened = publish::open_target(fs, publish::open_entry(fs, path, options.directories),
                                       options.announced, std::time(nullptr));
    if (std::holds_alternative<publish::Vanished>(opened)) return {.outcome = InPlaceOutcome::vanished};
    if (const auto* young = std::get_if<publish::TooYoung>(&opened)) {
        return {.outcome = InPlaceOutcome::too_recent, .ready_in_seconds = young->ready_in_seconds};
    }
    auto& target = std::get<publish::ArchiveTarget>(opened);
    const auto lock = publish::InodeLock::take(fs, options.lock_directory, target.identity);
    if (!lock) return {.outcome = InPlaceOutcome::locked};

    const auto identity = target.identity;
    const auto size = identity.mark.size_bytes;
    if (options.opened) options.opened(identity);
    std::optional<Replacement> content;
    try {
        content = make(target.file);
    } catch (const base::InvalidArchive&) {
        // What somebody has written by halves is not damaged.
        if (!publish::is_open_for_writing(fs, target.file)) throw;
        return {.outcome = InPlaceOutcome::open_for_writing};
    }
    if (!content) return {.outcome = InPlaceOutcome::unchanged, .size_before = size, .size_after = size};
    if (publish::is_open_for_writing(fs, target.file)) return {.outcome = InPlaceOutcome::open_for_writing};
    const bool keep_original = options.keep_original && io::is_on_network(fs, target.directory);
    if (options.before_copy) options.before_copy(size);
    if (!content->verify_source) options.repack.task.report_end(base::Stage::checking, 0);
    publish::ReplaceFile replacement(fs, std::move(target), options.journal, options.reserve_bytes);
    replacement.require_space(size);
    engine::RepackResult result;
    std::string warning;
    try {
        const auto read_back = verify::fitting_read_back(fs, replacement.temporary());
        if (options.read_back_chosen) options.read_back_chosen(read_back);
        verify::CopyVerification verification(fs, replacement.temporary(), content->format,
                                              options.repack.task, read_back);
        engine::OrderedWriter writer(
            fs, replacement.temporary(),
            {.require_space = [&](std::uint64_t bytes) { replacement.require_space(bytes); },
             .on_device = [&](std::uint64_t bytes) { verification.written(bytes); }});
        auto repack_options = options.repack;
        repack_options.format = content->format;
        repack_options.spill.beside = &replacement.directory();
        repack_options.spill.reserve_beside = options.reserve_bytes;
        result = content->write(replacement.original(), writer, std::move(repack_options), warning);
        if (warning.empty()) warning = codec::name_warning(path, content->format);
        replacement.seal(verify::published_digest_attribute(result.fingerprint, result.result_bytes,
                                                            replacement.modified_when_sealed()));
        verification.finish(result.fingerprint);
        if (content->verify_source) base::append_sentence(warning, content->verify_source());
    } catch (const io::NoSpace& error) {
        const auto written = static_cast<std::uint64_t>(fs.status(replacement.temporary()).st_size);
        if (written == 0) throw;
        auto free = free_space(fs, error.directory());
        if (free) *free += written;
        throw NoSpaceForCopy(error, free, written, size);
    } catch (const base::Error&) {
        // What somebody writes to meanwhile is not damaged.
        if (!is_unchanged(fs, replacement.original(), identity)) return {.outcome = InPlaceOutcome::changed};
        throw;
    }
    const auto outcome = outcome_of(replacement.publish(keep_original));
    base::append_sentence(warning, replacement.warning());
    std::map<std::string, std::string> device_digests;
    for (const auto& [name, digest] : result.fingerprint.devices) device_digests[name] = digest.to_hex();
    return {.outcome = outcome,
            .size_before = size,
            .size_after = result.result_bytes,
            .reread_bytes = result.reread_bytes,
            .spilled_bytes = result.spilled_bytes,
            .warning = std::move(warning),
            .digest = result.fingerprint.digest.to_hex(),
            .device_digests = std::move(device_digests)};
}

InPlaceResult repack_in_place(io::FileSystem& fs, const std::string& path, const InPlaceOptions& options) {
    const auto& task = options.repack.task;
    std::optional<verify::SourceCheck> check;
    return replace_in_place(fs, path, options, [&](const io::File& archive) -> std::optional<Replacement> {
        if (!edits_configs(fs, archive, options.repack) &&
            verify::canonical_by_headers(fs, archive, {task.threads, task.cancel, {}}) ==
                verify::Canonical::yes) {
            report_configs(fs, archive, options.repack);
            return std::nullopt;
        }
        return Replacement{.format = codec::format_of_file(fs, archive),
                           .write =
                               [&](const io::File& original, engine::OrderedWriter& writer,
                                   engine::RepackOptions repack, std::string& warning) {
                                   return write_copy(fs, original, writer, std::move(repack), options, check,
                                                     warning);
                               },
                           .verify_source = [&] { return check->finish(); }};
    });
}

std::optional<RecoveredInPlace> recover_in_place(io::FileSystem& fs, const std::string& path,
                                                 const InPlaceOptions& options,
                                                 const publish::RecoveryRecord& record) {
    const auto entry = publish::open_entry(fs, path, options.directories);
    const auto lock =
        publish::InodeLock::take(fs, options.lock_directory, identity_for_lock(fs, entry.directory, record));
    if (!lock) return std::nullopt;
    auto [outcome, warning] = publish::recover(fs, entry.directory, record);
    return RecoveredInPlace{outcome_of(outcome), std::move(warning)};
}

}  // namespace vmad::repack
