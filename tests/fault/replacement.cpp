#include "replacement.hpp"

#include <fcntl.h>

#include "base/error.hpp"
#include "publish/replace_file.hpp"

namespace vmad::fault {

using support::Numbers;

const std::vector<Abilities>& all_abilities() {
    static const std::vector<Abilities> all{
        {"exchange, unnamed", true, true, true, false},
        {"exchange, named", false, true, true, false},
        {"rename with link, unnamed", true, false, true, false},
        {"rename with link, named", false, false, true, false},
        {"bare rename, unnamed", true, false, false, false},
        {"bare rename, named", false, false, false, false},
        {"exchange, unnamed, original kept", true, true, true, true},
        {"exchange, named, original kept", false, true, true, true},
        {"rename with link, unnamed, original kept", true, false, true, true},
        {"rename with link, named, original kept", false, false, true, true},
        {"bare rename, which cannot keep the original", true, false, false, true},
        {"exchange, a number for each name", false, true, true, false, Numbers::by_path},
        {"rename with link, a number for each name", false, false, true, false, Numbers::by_path},
        {"bare rename, a number for each name", false, false, false, false, Numbers::by_path},
        {"rename with link, a number for each link", false, false, true, false, Numbers::by_mount},
        {"rename with link, a number for each link, original kept", false, false, true, true,
         Numbers::by_mount},
    };
    return all;
}

std::vector<Abilities> all_without_leases() {
    auto all = all_abilities();
    for (auto& abilities : all) abilities.leases = false;
    return all;
}

void restrict_to(const Abilities& abilities, support::FaultFileSystem& fs) {
    fs.has_unnamed = abilities.unnamed;
    fs.has_exchange = abilities.exchange;
    fs.has_links = abilities.links;
    fs.has_leases = abilities.leases;
    fs.numbers = abilities.numbers;
}

Storage::Storage() : directory_(support::TemporaryDirectory::fast_base()) {
    directory_.write(kName, kOld);
    directory_.set_modified(kName, {1'700'000'000, 123'456'789});
}

std::optional<std::string> Storage::content() const {
    if (!directory_.has(kName)) return std::nullopt;
    return directory_.read(kName);
}

bool Storage::is_whole() const {
    const auto found = content();
    return found == kOld || found == kNew;
}

bool Storage::is_clean() const {
    auto names = directory_.names();
    names.erase(kName);
    return names.empty();
}

bool Storage::is_in_grace_period() const {
    auto names = directory_.names();
    names.erase(kName);
    return names.size() == 1 && directory_.read(*names.begin()) == kOld;
}

io::File Storage::open(io::FileSystem& fs) const {
    return fs.open(directory_.path(), O_RDONLY | O_DIRECTORY);
}

publish::PublishOutcome replace(const Abilities& abilities, support::FaultFileSystem& fs,
                                const Storage& storage, const Journal& journal,
                                const std::function<void()>& on_opened) {
    restrict_to(abilities, fs);
    auto entry = publish::open_entry(fs, storage.archive(), {storage.directory().path()});
    auto opened = publish::open_target(fs, std::move(entry), true, 0);
    if (!std::holds_alternative<publish::ArchiveTarget>(opened))
        throw base::Error("the archive was not found");
    if (on_opened) on_opened();
    publish::ReplaceFile file(
        fs, std::get<publish::ArchiveTarget>(std::move(opened)),
        [&](const publish::RecoveryRecord& record) { fs.step("journal", "", [&] { journal(record); }); }, 0);
    const auto half = kNew.size() / 2;
    for (const auto& [offset, length] : {std::pair{std::size_t{0}, half}, {half, kNew.size() - half}}) {
        file.require_space(length);
        std::string part = kNew.substr(offset, length);
        iovec vector{part.data(), part.size()};
        io::write_fully_at(fs, file.temporary(), {&vector, 1}, offset);
    }
    file.seal({{"user.vmad", "note"}});
    return file.publish(abilities.keep_original);
}

unsigned count_calls(const Abilities& abilities) {
    const Storage storage;
    support::FaultFileSystem fs;
    (void)replace(abilities, fs, storage, [](const publish::RecoveryRecord&) {});
    return fs.calls();
}

publish::RecoveryOutcome recover(io::FileSystem& fs, const Storage& storage,
                                 const publish::RecoveryRecord& record) {
    const auto directory = storage.open(fs);
    return publish::recover(fs, directory, record).outcome;
}

bool agrees(const Storage& storage, publish::PublishOutcome outcome) {
    const auto content = storage.content();
    switch (outcome) {
        case publish::PublishOutcome::published:
            return content == kNew;
        case publish::PublishOutcome::grace_period:
            return content == kNew && storage.is_in_grace_period();
        case publish::PublishOutcome::vanished:
            return !content;
        case publish::PublishOutcome::changed:
            return content.has_value();
        case publish::PublishOutcome::open_for_writing:
            return content == kOld;
    }
    return false;
}

bool agrees(const Storage& storage, publish::RecoveryOutcome outcome) {
    const auto content = storage.content();
    switch (outcome) {
        case publish::RecoveryOutcome::published:
            return content == kNew;
        case publish::RecoveryOutcome::not_published:
            return content == kOld;
        case publish::RecoveryOutcome::vanished:
            return !content;
        case publish::RecoveryOutcome::changed:
            return content.has_value();
    }
    return false;
}

}  // namespace vmad::fault
