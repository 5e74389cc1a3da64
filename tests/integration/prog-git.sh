#!/bin/bash
# git on a repository that the script makes: log -p, blame, repack with threads, fsck, clone, merge.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need git awk
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a \
    GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' \
    GIT_PAGER=cat
awk -v commits="${GIT_COMMITS:-300}" 'BEGIN {
    for (c = 1; c <= commits; c++) {
        print "commit refs/heads/main\ncommitter a <a@b> " (1600000000 + c * 60) " +0000"
        m = "change " c
        print "data " length(m) "\n" m
        for (k = 0; k < 4; k++) {
            f = (c * 7 + k * 13) % 60
            text = ""
            for (l = 0; l < 80; l++)
                text = text "line " l " of file " f (l % 60 == c % 60 ? " changed in " c : "") "\n"
            print "M 100644 inline dir" (f % 8) "/file" f "\ndata " length(text) "\n" text
        }
    }
}' >history.txt
git init -q -b main origin
git -C origin fast-import --quiet <history.txt || fail "cannot make the repository"

cat >session <<'SH'
#!/bin/sh
set -e
rm -rf copy
cp -r origin copy
cd copy
git log -p -n 300 | sha256sum
git log --stat --graph --all | sha256sum
git log -M -C --find-copies-harder -n 40 --name-status | sha256sum
git reset -q --hard
git repack -a -d -f -q --threads=4 --depth=30 --window=20
git fsck --full --strict
git rev-list --objects --all | git cat-file --batch-check='%(objectname) %(objecttype) %(objectsize)' | sort | sha256sum
git blame dir3/file11 | sha256sum
git grep -n -e 'changed in 2' | sha256sum
git checkout -q -b side HEAD~20
echo more >>dir0/file0
git commit -q -a -m side
git merge -q -m merge main 2>&1
git ls-tree -r HEAD | sha256sum
git archive HEAD | sha256sum
git gc -q
git clone -q --no-local . ../clone 2>&1
git -C ../clone log --oneline | wc -l
rm -rf ../clone ../copy
SH
chmod +x session
same_output -e -c git repository ./session
finish
