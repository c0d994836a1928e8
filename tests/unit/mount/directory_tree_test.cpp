#include "mount/directory_tree.hpp"

#include <algorithm>
#include <set>
#include <thread>

#include <doctest/doctest.h>

#include "support/dump.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using mount::DirectoryTree;
using testing::Bytes;
using Names = std::set<std::string>;

namespace {

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

std::string name_of(unsigned vmid, const std::string& ending) {
    return "vzdump-qemu-" + std::to_string(vmid) + "-2026_01_01-02_00_00" + ending;
}

std::string text_of(const Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes dumped(std::uint64_t seed) {
    return testing::dump(testing::plausible_guest({{"drive-scsi0", 5 << 20, {.seed = seed}}}),
                         {.seed = seed});
}
Bytes canonical(std::uint64_t seed) { return testing::reference_repack(dumped(seed)); }

/// A directory of backups and a view of it, as far as that goes without a kernel.
struct View {
    explicit View(std::vector<mount::FolderSource> sources)
        : tree(fs(), sources, 64 << 20, [this](const std::string& text) { warnings.insert(text); }) {}
    explicit View(const support::TemporaryDirectory& dump)
        : View(std::vector<mount::FolderSource>{{"", dump.path()}}) {}

    mount::Attributes find(const std::string& name, mount::Inode directory = mount::kRootInode) {
        const auto found = tree.find(directory, name);
        REQUIRE(found);
        return *found;
    }
    std::unique_ptr<mount::OpenFile> open(const std::string& name) {
        auto file = tree.open(find(name).inode);
        REQUIRE(file);
        return file;
    }
    Names names(mount::Inode directory = mount::kRootInode) {
        Names names;
        const auto entries = tree.entries(directory);
        REQUIRE(entries);
        for (const auto& entry : *entries) names.insert(entry.name);
        return names;
    }

    Names warnings;
    DirectoryTree tree;
};

Bytes content_of(mount::OpenFile& file) {
    Bytes content(file.size_bytes());
    file.read_at(0, content);
    return content;
}

/// Until what was found in a directory is looked for again.
void outwait_listing() { std::this_thread::sleep_for(std::chrono::milliseconds(1100)); }

bool is_same(const mount::Attributes& a, const mount::Attributes& b) {
    return a.inode == b.inode && a.is_directory == b.is_directory && a.size_bytes == b.size_bytes &&
           a.modified.tv_sec == b.modified.tv_sec && a.modified.tv_nsec == b.modified.tv_nsec;
}

}  // namespace

TEST_CASE("a view shows canonical archives as raw ones, what belongs to them, and backups of containers") {
    const support::TemporaryDirectory dump;
    const auto archive = canonical(1);
    dump.write(name_of(100, ".vma.zst"), text_of(testing::reference_zstd(archive, 3)));
    dump.write(name_of(100, ".log"), "log");
    dump.write(name_of(100, ".vma.zst.notes"), "notes");
    dump.write(name_of(100, ".vma.zst.protected"), "");
    dump.write(name_of(101, ".vma"), text_of(canonical(2)));
    dump.write(name_of(101, ".vma.zst"), "whatever");
    dump.write(name_of(102, ".vma"), text_of(dumped(3)));
    dump.write(name_of(103, ".vma.zst"), text_of(testing::reference_zstd(dumped(4), 3)));
    dump.write(name_of(104, ".vma.gz"), "\x1f\x8b\x08");
    dump.write(name_of(105, ".vma.lzo"), "");
    dump.write("vzdump-lxc-200-2026_01_01-02_00_00.tar.zst", "container");
    dump.write("vzdump-lxc-200-2026_01_01-02_00_00.tar.zst.notes", "its notes");
    for (const auto* hidden : {".vmad-x.tmp", "other", "vzdump-qemu-9.vma.dat", ".x.vma"})
        dump.write(hidden, "x");
    fs().make_link(name_of(101, ".vma"), fs().open(dump.path(), O_RDONLY), name_of(106, ".vma"));
    (void)fs().make_directory(dump / name_of(107, ".vma"), 0700);
    REQUIRE(::mkfifo((dump / name_of(108, ".vma")).c_str(), 0600) == 0);

    View view(dump);
    CHECK(view.names() == Names{name_of(100, ".vma"), name_of(100, ".log"), name_of(100, ".vma.notes"),
                                name_of(100, ".vma.protected"), name_of(101, ".vma"),
                                "vzdump-lxc-200-2026_01_01-02_00_00.tar.zst",
                                "vzdump-lxc-200-2026_01_01-02_00_00.tar.zst.notes"});
    CHECK(content_of(*view.open(name_of(100, ".vma"))) == archive);
    CHECK(view.find(name_of(100, ".vma")).size_bytes == archive.size());
    CHECK(content_of(*view.open(name_of(101, ".vma"))) == canonical(2));
    CHECK(text_of(content_of(*view.open(name_of(100, ".vma.notes")))) == "notes");
    CHECK_FALSE(view.tree.find(mount::kRootInode, name_of(102, ".vma")));
    const auto listing = view.tree.folders().front().listing();
    CHECK(listing->archives == 2);
    CHECK(listing->not_repacked ==
          std::vector<std::string>{name_of(101, ".vma.zst"), name_of(102, ".vma"), name_of(103, ".vma.zst")});
    CHECK(listing->not_seekable ==
          std::vector<std::string>{name_of(104, ".vma.gz"), name_of(105, ".vma.lzo")});
    CHECK(view.warnings.size() == 1);
}

TEST_CASE("law: what is shown has the same attributes in every view, and others when it changes") {
    const support::TemporaryDirectory dump;
    const auto zstd = text_of(testing::reference_zstd(canonical(1), 3));
    const auto name = name_of(100, ".vma");
    dump.write(name_of(100, ".vma.zst"), zstd);
    dump.write(name_of(100, ".log"), "log");
    dump.set_modified(name_of(100, ".vma.zst"), {1700000000, 5});
    View first(dump);
    View second(dump);
    const auto entries = first.tree.entries(mount::kRootInode).value();
    for (const auto& entry : entries) {
        CHECK(is_same(entry.attributes, second.find(entry.name)));
        CHECK(is_same(entry.attributes, second.tree.attributes(entry.attributes.inode).value()));
    }
    CHECK(first.find(name).modified.tv_nsec == 5);

    // The same content in another file, as after a restore of the storage.
    dump.remove(name_of(100, ".vma.zst"));
    dump.write(name_of(100, ".vma.zst"), zstd);
    dump.set_modified(name_of(100, ".vma.zst"), {1700000000, 5});
    CHECK(is_same(View(dump).find(name), first.find(name)));
    dump.set_modified(name_of(100, ".vma.zst"), {1700000001, 5});
    CHECK(View(dump).find(name).inode != first.find(name).inode);
}

TEST_CASE("several directories are a folder each, and one that is gone does not hide the others") {
    const support::TemporaryDirectory dumps;
    for (const auto* folder : {"a", "b"}) {
        (void)fs().make_directory(dumps / folder, 0700);
        dumps.write(std::string(folder) + "/" + name_of(100, ".vma"), text_of(canonical(1)));
    }
    View view({{"local", dumps / "a"}, {"nas", dumps / "b"}});
    CHECK(view.names() == Names{"local", "nas"});
    const auto local = view.find("local").inode;
    const auto nas = view.find("nas").inode;
    CHECK(view.names(local) == Names{name_of(100, ".vma")});
    CHECK(view.find(name_of(100, ".vma"), local).inode != view.find(name_of(100, ".vma"), nas).inode);
    CHECK_FALSE(view.tree.find(mount::kRootInode, name_of(100, ".vma")));
    CHECK_FALSE(view.tree.find(12345, "x"));
    CHECK_FALSE(view.tree.entries(12345));
    CHECK_FALSE(view.tree.attributes(12345));
    CHECK(view.tree.open(12345) == nullptr);

    std::filesystem::remove_all(dumps / "b");
    outwait_listing();
    CHECK(view.names() == Names{"local", "nas"});
    CHECK(view.names(local) == Names{name_of(100, ".vma")});
    CHECK_THROWS_AS((void)view.tree.entries(nas), base::SystemError);
}

TEST_CASE("archives come and go, and an open one stays what it was") {
    const support::TemporaryDirectory dump;
    const auto archive = canonical(1);
    const auto other = canonical(2);
    dump.write(name_of(100, ".vma.zst"), text_of(testing::reference_zstd(archive, 3)));
    dump.write(name_of(101, ".vma.zst"), text_of(testing::reference_zstd(archive, 3)));
    dump.write(name_of(103, ".vma"), text_of(archive));
    View view(dump);
    const auto pruned = view.open(name_of(100, ".vma"));
    const auto replaced = view.open(name_of(101, ".vma"));
    const auto before = view.find(name_of(101, ".vma"));
    const auto gone = view.find(name_of(100, ".vma"));
    dump.remove(name_of(100, ".vma.zst"));
    dump.remove(name_of(101, ".vma.zst"));
    dump.write(name_of(101, ".vma.zst"), text_of(testing::reference_zstd(other, 3)));
    dump.write(name_of(102, ".vma"), text_of(other));

    // Who opens what is not there any longer, within the second, is told, and looks again.
    const auto closed = view.find(name_of(103, ".vma"));
    dump.remove(name_of(103, ".vma"));
    CHECK(view.tree.open(closed.inode) == nullptr);
    CHECK(view.names() == Names{name_of(101, ".vma"), name_of(102, ".vma")});
    CHECK(content_of(*view.open(name_of(101, ".vma"))) == other);
    CHECK(content_of(*pruned) == archive);
    CHECK(content_of(*replaced) == archive);
    CHECK(is_same(view.tree.attributes(gone.inode).value(), gone));
    CHECK(view.find(name_of(101, ".vma")).inode != before.inode);
}

TEST_CASE("many open archives are read in turns by many threads") {
    const support::TemporaryDirectory dump;
    std::vector<Bytes> archives;
    for (unsigned i = 0; i < 20; ++i) {
        archives.push_back(canonical(i));
        dump.write(name_of(100 + i, ".vma.zst"), text_of(testing::reference_zstd(archives[i], 3)));
    }
    View view(dump);
    std::vector<std::unique_ptr<mount::OpenFile>> files;
    for (unsigned i = 0; i < 20; ++i) files.push_back(view.open(name_of(100 + i, ".vma")));
    std::array<bool, 4> same{};
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < same.size(); ++thread)
        threads.emplace_back([&, thread] {
            same[thread] = true;
            testing::Random random(thread);
            for (unsigned round = 0; round < 200; ++round) {
                const auto i = random.below(files.size());
                const auto at = random.below(archives[i].size());
                Bytes found(std::min<std::size_t>(archives[i].size() - at, 1 + random.below(300'000)));
                files[i]->read_at(at, found);
                same[thread] =
                    same[thread] && std::equal(found.begin(), found.end(),
                                               archives[i].begin() + static_cast<std::ptrdiff_t>(at));
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(std::all_of(same.begin(), same.end(), [](bool one) { return one; }));
}

TEST_CASE("damage is named with the file, and the rest of it can be read") {
    const support::TemporaryDirectory dump;
    const auto archive = canonical(1);
    auto zstd = testing::reference_zstd(archive, 3);
    zstd[zstd.size() / 2] ^= std::byte{0x10};
    dump.write(name_of(100, ".vma.zst"), text_of(zstd));
    View view(dump);
    const auto file = view.open(name_of(100, ".vma"));
    Bytes byte(1);
    std::size_t damaged = 0;
    for (std::uint64_t at = 0; at < archive.size(); at += 4096) try {
            file->read_at(at, byte);
            CHECK(byte[0] == archive[at]);
        } catch (const base::Error& error) {
            ++damaged;
            CHECK(std::string(error.what()).starts_with(dump / name_of(100, ".vma.zst")));
        }
    CHECK(damaged > 0);
    CHECK(damaged <= canon::kMaxRegionExtent / 4096 + 1);
}
